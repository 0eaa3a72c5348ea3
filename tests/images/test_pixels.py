"""Images as network input: bands, depths, and where they have no data."""

import numpy as np
import pytest
from PIL import Image
from rasters import RGB, texture, write_tiff

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading, notes_of, read_pixels
from hsonet_mm.images.options import Stretch

pytestmark = pytest.mark.any_host


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

    def test_transparent_grey_of_16_bits(self, tmp_path):
        grey = texture()[..., 0].astype(np.uint16) * 200 + 1
        grey[:20, :30] = 0
        Image.fromarray(grey).save(tmp_path / 'a.png', transparency=0)
        assert np.array_equal(self.valid_of(tmp_path / 'a.png'), grey > 0)

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
