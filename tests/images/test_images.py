"""The one reader: what files say is believed, whoever reads them, and odd files end in a right result or a sentence."""

import itertools
import os
import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

pytest.importorskip('shapely')

from hsonet_mm.commands.predict import predict_paths
from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading, join, notes_of, read_pixels, read_raster
from hsonet_mm.images.options import Stretch, apply_stretch
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.preparation.check import check_dataset
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene

pytestmark = pytest.mark.any_host

GRID = from_origin(500_000, 5_000_000, 0.5, 0.5)
ODD_FILES = int(os.environ.get('ODD_FILES', 30))
"""Generated files of the sweep; 200 take a minute or two."""


class Difference:
    """A model whose probability is the mean difference of the bands."""

    name, threshold, threshold_source, versions, reading = 'difference', 0.1, 'own', {}, Reading()
    tile_size, crop_size, slides, device = None, None, False, 'cpu'
    ground_resolution = None

    def probs(self, t1, t2):
        return np.abs(t1.astype(np.float32) - t2).mean(axis=3) / 255


def write_tiff(path, image, kinds=None, mask=None, crs='EPSG:32633', transform=GRID, **profile):
    """Write (H, W, bands) as GeoTIFF; kinds are what bands are said to be."""
    count = image.shape[2]
    colours = count == 3 and image.dtype == np.uint8 and kinds in (None, RGB)
    profile.setdefault('photometric', 'RGB' if colours else 'MINISBLACK')
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, 'w', driver='GTiff', height=image.shape[0], width=image.shape[1], count=count,
            dtype=image.dtype, crs=crs, transform=transform, **profile,
        ) as dataset,
    ):  # fmt: skip
        if kinds:
            dataset.colorinterp = [ColorInterp[kind] for kind in kinds]
        dataset.write(image.transpose(2, 0, 1))
        if mask is not None:
            dataset.write_mask(mask)
    return str(path)


def texture(height=48, width=64, bands=3, seed=0):
    return np.random.default_rng(seed).integers(40, 200, (height, width, bands), dtype=np.uint8)


RGB = ['red', 'green', 'blue']


def as_stored(image, orientation):
    """What is in a file whose orientation brings it back to the image."""
    return np.ascontiguousarray({
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.swapaxes(0, 1),
        6: np.rot90(image),
        7: image[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(image, -1),
    }[orientation])  # fmt: skip


def save_turned(path, image, orientation):
    """Save a picture turned, with the tag that turns it back."""
    exif = Image.Exif()
    exif[274] = orientation
    extra = {'tiffinfo': {274: orientation}} if path.suffix == '.tif' else {'exif': exif}
    quality = {'quality': 100, 'subsampling': 0} if path.suffix == '.jpg' else {}
    Image.fromarray(as_stored(image, orientation)).save(path, **quality, **extra)


class TestOrientation:
    @pytest.mark.parametrize('orientation', range(1, 9))
    @pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif'])
    def test_is_applied(self, tmp_path, orientation, suffix):
        """Blocks, which a JPEG keeps, of other colours at each corner."""
        image = np.zeros((32, 48, 3), np.uint8)
        image[:16, :16], image[:16, 16:], image[16:, :16] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
        path = tmp_path / f'a.{suffix}'
        save_turned(path, image, orientation)
        values = read_pixels(str(path)).values
        assert values.shape == image.shape
        assert np.abs(values.astype(int) - image).max() <= 4

    def test_georeference_overrules_the_tag(self, tmp_path):
        """GDAL and every GIS place the pixels of a GeoTIFF as they are stored."""
        path = tmp_path / 'a.tif'
        Image.fromarray(texture()).save(path, tiffinfo={274: 3})
        assert np.array_equal(read_pixels(str(path)).values, texture()[::-1, ::-1])
        with rasterio.open(path, 'r+') as dataset:
            dataset.crs, dataset.transform = 'EPSG:32633', GRID
        assert np.array_equal(read_pixels(str(path)).values, texture())


class TestNoData:
    def valid_of(self, path, **declared):
        return read_pixels(str(path), Reading.make(**declared)).valid

    @pytest.mark.parametrize(
        'kind', ['alpha png', 'alpha tif', 'mask', 'value', 'nan', 'declared', 'palette']
    )
    def test_what_says_that_there_is_none(self, tmp_path, kind):
        image, valid, declared = texture(), np.ones((48, 64), bool), {}
        valid[:20, :30] = False
        alpha = valid.astype(np.uint8) * 255
        path = tmp_path / ('a.png' if kind in ('alpha png', 'palette') else 'a.tif')
        if kind == 'alpha png':
            Image.fromarray(np.dstack([image, alpha])).save(path)
        elif kind == 'palette':
            grey = np.where(valid, 1 + image[..., 0] % 7, 0).astype(np.uint8)
            picture = Image.fromarray(grey).convert('P')
            picture.putpalette(list(range(24)))
            picture.save(path, transparency=0)
        elif kind == 'alpha tif':
            write_tiff(path, np.dstack([image, alpha]), [*RGB, 'alpha'])
        elif kind == 'mask':
            write_tiff(path, image, mask=valid)
        elif kind == 'nan':
            write_tiff(path, np.where(valid[..., None], image, np.nan).astype(np.float32))
        else:
            image[~valid] = 7
            write_tiff(path, image, **({'nodata': 7} if kind == 'value' else {}))
            declared = {'nodata': 7} if kind == 'declared' else {}
        assert np.array_equal(self.valid_of(path, **declared), valid)

    def test_one_band_with_a_value_is_data(self, tmp_path):
        image = texture()
        image[0, 0], image[0, 1] = (0, 0, 0), (0, 0, 9)
        valid = self.valid_of(write_tiff(tmp_path / 'a.tif', image, nodata=0))
        assert not valid[0, 0]
        assert valid[0, 1]

    @pytest.mark.parametrize('value', [-10000, 0.5, 300])
    def test_value_that_no_pixel_can_have(self, tmp_path, value):
        path = write_tiff(tmp_path / 'a.tif', texture())
        assert self.valid_of(path, nodata=value) is None

    def test_pair_is_black_where_either_date_has_none(self, tmp_path):
        t1, t2 = texture(), texture(seed=1)
        t1[:5], t2[:, :5] = 0, 0
        first, second = (
            read_pixels(write_tiff(tmp_path / f'{n}.tif', image, nodata=0))
            for n, image in enumerate((t1, t2))
        )
        pair = join(first, second)
        expected = np.ones((48, 64), bool)
        expected[:5], expected[:, :5] = False, False
        assert np.array_equal(pair.valid, expected)
        for image, given in ((pair.t1, t1), (pair.t2, t2)):
            assert np.array_equal(image, given * expected[..., None])

    def near_infrared(self, tmp_path):
        """Red, green, blue and near infrared, which GDAL flags as alpha by default; it is 0 over water."""
        infrared = texture(bands=1, seed=3)[..., 0]
        infrared[:20] = 0
        image = np.dstack([texture(), infrared])
        return write_tiff(tmp_path / 'rgbn.tif', image, [*RGB, 'alpha']), image

    def test_near_infrared_hides_no_water_and_is_told(self, tmp_path):
        path, image = self.near_infrared(tmp_path)
        pixels = read_pixels(path)
        assert pixels.valid is None
        assert np.array_equal(pixels.values, image[..., :3])
        assert [note.kind for note in notes_of(pixels, pixels, True)] == ['alpha', 'alpha']
        assert 'band 4' in notes_of(pixels, pixels, True)[0].text

    @pytest.mark.parametrize('bands', ['1,2,3', '1,2,3,4', '4,1,2'])
    def test_bands_overrule_the_flag(self, tmp_path, bands):
        path, image = self.near_infrared(tmp_path)
        pixels = read_pixels(path, Reading.make(bands))
        assert pixels.valid is None
        assert pixels.raster.notes == ()
        assert np.array_equal(pixels.values, image[..., [int(band) - 1 for band in bands.split(',')]])

    @pytest.mark.parametrize('bands', [None, '3,2,1'])
    def test_true_transparency_stays_with_named_bands(self, tmp_path, bands):
        alpha = np.full((48, 64), 255, np.uint8)
        alpha[:10] = 0
        path = write_tiff(tmp_path / 'a.tif', np.dstack([texture(), alpha]), [*RGB, 'alpha'])
        assert np.array_equal(self.valid_of(path, bands=bands), alpha > 0)


class TestBands:
    @pytest.mark.parametrize('count', [2, 4, 5, 6])
    def test_intact_files_are_never_called_damaged(self, tmp_path, count):
        path = write_tiff(tmp_path / 'a.tif', texture(bands=count), ['undefined'] * count)
        with pytest.raises(UserError, match=rf'a\.tif has {count} bands of uint8 and .* --bands') as caught:
            read_pixels(path)
        assert 'damaged' not in str(caught.value)
        wanted = tuple(range(count, 0, -1))
        assert np.array_equal(read_pixels(path, Reading(wanted)).values, texture(bands=count)[..., ::-1])

    def test_bands_that_are_not_there(self, tmp_path):
        path = write_tiff(tmp_path / 'a.tif', texture())
        with pytest.raises(UserError, match=r'has 3 bands of uint8, so --bands 1,2,4 cannot be read'):
            read_pixels(path, Reading((1, 2, 4)))

    def test_the_file_says_which_is_red(self, tmp_path):
        path = write_tiff(
            tmp_path / 'a.tif',
            texture(bands=4),
            ['undefined', 'blue', 'green', 'red'],
            photometric='MINISBLACK',
        )
        assert np.array_equal(read_pixels(path).values, texture(bands=4)[..., [3, 2, 1]])

    @pytest.mark.parametrize('dtype', ['uint16', 'int16', 'uint32', 'int32', 'float32', 'float64'])
    def test_depths_by_a_declared_stretch(self, tmp_path, dtype):
        values = (texture().astype(np.float64) * 10).astype(dtype)
        path = write_tiff(tmp_path / 'a.tif', values)
        pixels = read_pixels(path, Reading.make(stretch='500,1500'))
        expected = np.clip((values.astype(np.float64) - 500) * 0.255, 0, 255)
        assert np.abs(pixels.values - expected).max() <= 0.51

    def test_percentiles_leave_out_what_is_no_data(self, tmp_path):
        values = np.arange(1, 10_001, dtype=np.float32).reshape(100, 100, 1).repeat(3, axis=2)
        values[:50] = np.nan
        pixels = read_pixels(write_tiff(tmp_path / 'a.tif', values))
        low, high = np.percentile(np.arange(5001, 10_001), [2, 98])
        assert pixels.stretch == Stretch(pytest.approx(low), pytest.approx(high))

    def test_reflectance_between_0_and_1_keeps_its_steps(self, tmp_path):
        values = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None].repeat(48, 0).repeat(3, 2)
        pixels = read_pixels(write_tiff(tmp_path / 'a.tif', values), Reading.make(stretch='0,1'))
        assert np.array_equal(pixels.values[0, :, 0], np.rint(np.linspace(0, 255, 64)))
        assert len(np.unique(read_pixels(str(tmp_path / 'a.tif')).values)) > 50

    def test_nan_becomes_0(self):
        assert apply_stretch(np.array([np.nan, np.inf, -np.inf, 5.0]), Stretch(0, 10)).tolist() == [
            0,
            255,
            0,
            128,
        ]

    def test_16_bit_colours_of_a_png_are_not_cut_to_8(self, tmp_path):
        import cv2

        values = texture().astype(np.uint16) * 100 + 37
        cv2.imwrite(str(tmp_path / 'a.png'), values[..., ::-1])
        raster = read_raster(str(tmp_path / 'a.png'))
        assert np.array_equal(raster.values, values)

    @pytest.mark.parametrize('mode', ['CMYK', 'L', 'P', '1', 'LA', 'YCbCr', 'LAB', 'I;16', 'F'])
    @pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp', 'gif', 'bmp'])
    def test_every_mode_of_pillow(self, tmp_path, mode, suffix):
        image = Image.fromarray(texture()).convert('L' if mode in ('I;16', 'F') else mode)
        if mode in ('I;16', 'F'):
            image = Image.fromarray(np.asarray(image).astype('uint16' if mode == 'I;16' else 'float32'))
        path = str(tmp_path / f'a.{suffix}')
        try:
            image.save(path)
        except (OSError, ValueError, KeyError):
            pytest.skip('Pillow does not write that')
        pixels = read_pixels(path)
        assert pixels.values.shape == (48, 64, 3)
        assert pixels.values.dtype == np.uint8
        if mode in ('L', 'P', 'LA') and suffix in ('png', 'tif'):
            assert np.array_equal(pixels.values, np.asarray(image.convert('RGB')))
        if mode == 'CMYK' and suffix != 'webp':  # by the definition, without a profile
            expected = np.asarray(image.convert('RGB')).astype(int)
            assert np.abs(pixels.values - expected).mean() < 12


class TestDeclared:
    def test_round_trip_as_plain_text(self):
        reading = Reading.make('4,3,2/1,2,3', '2%,98%', 'nan')
        written = reading.to_dict()
        assert written == {'bands': '4,3,2/1,2,3', 'stretch': '2%,98%', 'nodata': 'nan'}
        assert Reading.from_dict(written).to_dict() == written
        assert Reading.from_dict(None) == Reading()
        assert reading.of_date(0).bands == (4, 3, 2)
        assert reading.of_date(1).bands == (1, 2, 3)

    @pytest.mark.parametrize('given', [{'bands': '1,2/3'}, {'bands': 'red'}, {'bands': '0,1,2'}, {'bands': '1/2/3'},
                                       {'stretch': '5,1'}, {'stretch': '5'}, {'nodata': 'none'}])  # fmt: skip
    def test_what_is_no_declaration(self, given):
        with pytest.raises(UserError, match=r'^invalid .*: expected'):
            Reading.make(**given)

    def test_what_differs_from_training_is_told(self):
        trained = Reading.make('3,2,1', '0,3000')
        merged, notes = Reading.make(stretch='0,9000', nodata=0).over(trained)
        assert merged == Reading.make('3,2,1', '0,9000', 0)
        assert len(notes) == 2
        assert notes[0] == 'the model was trained with 0,3000, but --stretch is 0,9000 here'
        assert Reading.make('3,2,1').over(trained) == (trained, [])


class TestPairs:
    def pixels(self, path, image, **profile):
        return read_pixels(write_tiff(path, image, **profile))

    @pytest.mark.parametrize(
        ('crs', 'transform', 'told'),
        [
            ('EPSG:32633', GRID, False),
            ('EPSG:32633', from_origin(500_000.1, 5_000_000.1, 0.5, 0.5), False),  # a fifth of a pixel
            ('EPSG:32633', from_origin(500_000.5, 5_000_000, 0.5, 0.5), True),  # a pixel
            ('EPSG:32633', from_origin(500_000, 5_000_000, 0.6, 0.6), True),
            ('EPSG:32634', GRID, True),
            ('EPSG:25833', GRID, False),  # ETRS89, the same place to a centimetre here
            (None, None, False),
        ],
    )
    def test_georeference(self, tmp_path, crs, transform, told):
        t1 = self.pixels(tmp_path / 'a.tif', texture())
        t2 = self.pixels(tmp_path / 'b.tif', texture(), crs=crs, transform=transform)
        notes = notes_of(t1, t2, False)
        assert [note.kind for note in notes] == (['grid'] if told else [])
        if told:
            assert 'hsonet scene' in notes[0].text
            assert 'a.tif' in notes[0].text

    @pytest.mark.parametrize(('value', 'name'), [(0, 'black'), (255, 'white')])
    def test_border(self, tmp_path, value, name):
        framed = texture()
        framed[:, 40:] = value
        t1, t2 = self.pixels(tmp_path / 'a.tif', texture()), self.pixels(tmp_path / 'b.tif', framed)
        (note,) = notes_of(t1, t2, False)
        share = (48 + 2 * 24) / (2 * 48 + 2 * 64)
        assert note.text.startswith(f'{share:.0%} of the border of {tmp_path / "b.tif"} is {name} ({value})')
        assert f'--nodata {value}' in note.text
        assert notes_of(t1, t2, True) == []
        declared = self.pixels(tmp_path / 'c.tif', framed, nodata=value)
        assert notes_of(t1, declared, False) == []

    def test_depths(self, tmp_path):
        t1 = self.pixels(tmp_path / 'a.tif', texture())
        t2 = self.pixels(tmp_path / 'b.tif', texture().astype(np.uint16))
        with pytest.raises(
            UserError, match=r'a\.tif has uint8 and .*b\.tif uint16 values: .*--stretch 2%,98%'
        ):
            join(t1, t2)
        percent = Reading.make(stretch='2%,98%')
        t1, t2 = (read_pixels(str(tmp_path / f'{name}.tif'), percent) for name in 'ab')
        assert np.array_equal(*[getattr(join(t1, t2, percent.stretch), name) for name in ('t1', 't2')])


@dataclass(frozen=True)
class Odd:
    """A generated pair: bands, type, compression, what says "no data", and whether it is declared how to read it."""

    bands: int
    dtype: str
    compress: str
    hidden: str
    declared: bool

    def reading(self):
        bands = {1: '1,1,1', 2: '1,2,1'}.get(self.bands, '1,2,3') if self.declared else None
        return Reading.make(
            bands, '0,250' if self.declared else None, 7 if self.hidden == 'declared' else None
        )

    def clear(self):
        """Whether the file says which bands are red, green and blue."""
        return self.declared or self.bands in (1, 3)


def odd_files(count):
    """So many of all combinations, the same ones each time."""
    every = itertools.product(
        (1, 2, 3, 4, 6),
        ('uint8', 'uint16', 'int16', 'int32', 'float32', 'float64'),
        ('none', 'lzw', 'deflate', 'zstd', 'lerc', 'webp', 'jpeg', 'lzma'),
        ('nothing', 'alpha', 'mask', 'value', 'nan', 'declared'),
        (True, False),
    )
    possible = [
        Odd(*case)
        for case in every
        if (case[3] != 'nan' or case[1].startswith('float'))
        and (
            case[2] not in ('webp', 'jpeg')
            or (case[1] == 'uint8' and case[0] in (1, 3) and case[3] != 'alpha')
        )
        and not (case[2] == 'webp' and case[0] == 1)
        and not (case[2] == 'lerc' and case[3] == 'mask')
    ]
    return random.Random(0).sample(possible, count)


def write_odd(folder, odd):
    """Two dates that differ in a box, with a corner without data; returns paths, changed and valid."""
    height, width = 96, 128
    valid, changed = np.ones((height, width), bool), np.zeros((height, width), bool)
    changed[48:80, 64:112] = True
    if odd.hidden != 'nothing':
        valid[:32, :48] = False
    paths = []
    for date in range(2):
        ground = np.full((height, width, odd.bands), 60.0)
        ground[:, ::2] = 80
        ground[80:, :64] = 240  # so that the percentiles of both dates are the same
        if date:
            ground[changed] = 240
        mark = {'nan': np.nan, 'value': 7, 'declared': 7}.get(odd.hidden, 7)
        if odd.hidden in ('nan', 'value', 'declared'):
            ground[~valid] = mark
        image, kinds, profile = ground.astype(odd.dtype), [], {}
        kinds = RGB if odd.bands == 3 else ['gray'] if odd.bands == 1 else ['undefined'] * odd.bands
        if odd.hidden == 'alpha':
            full = np.iinfo(odd.dtype).max if odd.dtype.startswith(('u', 'i')) else 255
            image = np.dstack([image, np.where(valid, full, 0).astype(odd.dtype)])
            kinds = [*kinds, 'alpha']
        if odd.hidden == 'value':
            profile['nodata'] = 7
        if odd.compress == 'webp':
            profile['WEBP_LOSSLESS'] = True
        if odd.compress != 'none':
            profile['compress'] = odd.compress
        path = folder / f'{date}.tif'
        write_tiff(path, image, kinds, mask=valid if odd.hidden == 'mask' else None, **profile)
        paths.append(path)
    return paths, changed, valid


def test_wrong_bands_of_a_png_are_told_as_such(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(
        UserError, match=r'^\S+a\.png has 3 bands of uint8, so --bands 4,3,2 cannot be read: give'
    ):
        read_pixels(str(tmp_path / 'a.png'), Reading.make(bands='4,3,2'))


@pytest.mark.parametrize('name', ['a.tif', 'a.gif', 'a.webp', 'a.png'])
def test_a_file_of_several_images_is_refused(tmp_path, name):
    """Bands are often written as pages; the first one alone would be read as a grey image."""
    bands = [Image.fromarray(np.full((4, 4), 40 * number, np.uint8)) for number in range(4)]
    bands[0].save(tmp_path / name, save_all=True, append_images=bands[1:])
    for every in (False, True):
        with pytest.raises(UserError, match=r'contains 4 (rasters|images)'):
            read_raster(str(tmp_path / name), every=every)


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / 'a.png')
    with pytest.raises(UserError, match=r'a\.png is a folder, a pipe or a device, not an image file'):
        read_pixels(str(tmp_path / 'a.png'))


def test_a_file_with_overviews_and_a_mask_is_one_image(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = np.arange(64)[:, None] >= np.full((1, 64), 9)
    write_tiff(tmp_path / 'a.tif', image, mask=mask)
    with rasterio.open(tmp_path / 'a.tif', 'r+') as dataset:
        dataset.build_overviews([2, 4])
    raster = read_raster(str(tmp_path / 'a.tif'))
    np.testing.assert_array_equal(raster.values, image)
    np.testing.assert_array_equal(raster.mask, mask)


def test_threads_do_not_show_each_other_the_warnings_of_rasterio(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.int32)).save(tmp_path / 'a.tif')
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        warnings.simplefilter('error')
        for raster in pool.map(read_raster, [str(tmp_path / 'a.tif')] * 400):
            assert raster.place is None


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('odd', odd_files(ODD_FILES), ids=str)
def test_odd_files(tmp_path, odd):
    """predict, scene and check find the box and the corner, or say in one sentence what the file is."""
    for role in ('A', 'B', 'label'):
        (tmp_path / 'train' / role).mkdir(parents=True)
    (before, after), changed, valid = write_odd(tmp_path, odd)
    Image.fromarray(changed.astype(np.uint8) * 255).save(tmp_path / 'train' / 'label' / '0.png')
    before = before.rename(tmp_path / 'train' / 'A' / '0.tif')
    after = after.rename(tmp_path / 'train' / 'B' / '0.tif')
    lossy = odd.compress == 'jpeg'

    def agrees(found, expected):
        return (found != expected).mean() < (0.05 if lossy else 1e-9)

    detector = ChangeDetector(Difference(), reading=odd.reading())
    options = SceneOptions(tile=128, overlap=32, min_area=0, reading=odd.reading())
    target = tmp_path / 'scene' / 'change.tif'
    if not odd.clear():
        with pytest.raises(UserError, match=r'^[^\n]* bands of [^\n]*name them, as --bands [\d,]+$'):
            predict_paths(detector, before, after, tmp_path / 'out')
        with pytest.raises(UserError, match=r'^[^\n]* bands of [^\n]*name them, as --bands [\d,]+$'):
            detect_scene(detector, before, after, target, options)
    else:
        predict_paths(detector, before, after, tmp_path / 'out')
        mask = np.asarray(Image.open(tmp_path / 'out' / '0_mask.png')) > 0
        assert agrees(mask, changed & valid)
        has_valid = (tmp_path / 'out' / '0_valid.png').is_file()
        assert has_valid == (not valid.all())
        if has_valid:
            assert agrees(np.asarray(Image.open(tmp_path / 'out' / '0_valid.png')) > 0, valid)
        result = detect_scene(detector, before, after, target, options)
        with rasterio.open(result.files['mask']) as dataset:
            found = dataset.read(1)
        assert agrees(found == 1, changed & valid)
        assert agrees(found != 255, valid)
    report = check_dataset(tmp_path, crop=0, duplicates=False, reading=odd.reading())
    kinds = {finding.kind for finding in report.findings if finding.level == 'error'}
    assert kinds <= ({'splits'} if odd.clear() else {'splits', 'unreadable'})
    assert ('unreadable' in kinds) == (not odd.clear())
    assert all(
        '\n' not in finding.message and 'damaged' not in finding.message for finding in report.findings
    )


def odd_pictures(count):
    """So many pictures without georeference, the same ones each time."""
    every = itertools.product(('.png', '.jpg', '.tif'), (1, 2, 3, 4), range(1, 9), range(1, 9))
    return random.Random(1).sample([one for one in every if one[0] != '.jpg' or one[1] in (1, 3)], count)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(('suffix', 'bands', 'first', 'second'), odd_pictures(ODD_FILES // 3))
def test_odd_pictures(tmp_path, suffix, bands, first, second):
    """Pictures, each turned in its own way; two and four bands have alpha."""
    valid, changed = np.ones((48, 64), bool), np.zeros((48, 64), bool)
    changed[24:40, 32:56] = True
    paths = [tmp_path / f'{date}{suffix}' for date in range(2)]
    for path, orientation in zip(paths, (first, second), strict=True):
        image = np.full((48, 64, bands), 60, np.uint8)
        image[changed] = 240 if path == paths[1] else 60
        if bands in (2, 4):
            valid[:16, :24] = False
            image[..., -1] = valid * 255
        save_turned(path, image[..., 0] if bands == 1 else image, orientation)
    predict_paths(ChangeDetector(Difference()), *paths, tmp_path / 'out')
    mask = np.asarray(Image.open(tmp_path / 'out' / '1_mask.png')) > 0
    assert (mask != (changed & valid)).mean() < (0.02 if suffix == '.jpg' else 1e-9)
