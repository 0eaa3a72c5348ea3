"""What can be wrong with a raster: one sentence, and nothing under the final name."""

import os
import sys

import numpy as np
import pytest
from helpers import fake_detector as fake

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
from made_up_scene import OPTIONS, make_pair, read_all, write, write_pair
from rasterio.enums import ColorInterp
from rasterio.transform import Affine, from_gcps, from_origin

from hsonet_mm.errors import UserError
from hsonet_mm.geo.headers import read_info
from hsonet_mm.images import Reading
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene

pytestmark = pytest.mark.any_host


@pytest.fixture
def pair(tmp_path):
    return write_pair(tmp_path)


def missing(_, after):
    after.unlink()


def empty(_, after):
    after.write_bytes(b'')


def text(_, after):
    after.write_text('not a raster')


def folder(_, after):
    after.unlink()
    after.mkdir()


def truncated_header(_, after):
    after.write_bytes(after.read_bytes()[:60])


def truncated_pixels(_, after):
    noise = np.random.default_rng(0).integers(0, 255, (3, 300, 300), dtype=np.uint8)
    write(after, noise, compress='deflate', tiled=True, blockxsize=64, blockysize=64)
    with rasterio.open(after, 'r+') as dataset:  # the directory before the pixels, then the end cut off
        del dataset
    data = after.read_bytes()
    after.write_bytes(data[: len(data) * 2 // 3])


def damaged_pixels(_, after):
    noise = np.random.default_rng(0).integers(0, 255, (3, 300, 300), dtype=np.uint8)
    write(after, noise, compress='deflate', tiled=True, blockxsize=64, blockysize=64)
    data = bytearray(after.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    after.write_bytes(data)


def zero_bands(_, after):
    after.write_text('<VRTDataset rasterXSize="20" rasterYSize="20"></VRTDataset>')


def one_band(_, after):
    write(after, np.zeros((1, 300, 300), np.uint8))


def eight_bands(_, after):
    write(after, np.zeros((8, 300, 300), np.uint8), photometric='MINISBLACK')
    with rasterio.open(after, 'r+') as dataset:
        dataset.colorinterp = [ColorInterp.undefined] * 8


@pytest.mark.parametrize('nodata', [300, -1, 0.5])
def test_nodata_that_no_pixel_can_have(pair, nodata):
    sentence = rf'^invalid --nodata {nodata}: expected a whole number from 0 to 255, as \S+ has uint8 values$'
    with pytest.raises(UserError, match=sentence):
        read_info(pair[0], Reading.make(nodata=nodata))
    read_info(pair[0], Reading.make(nodata='nan'))


def palette(_, after):
    write(after, np.zeros((1, 300, 300), np.uint8), photometric='PALETTE')
    with rasterio.open(after, 'r+') as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})


def test_palette_is_expanded(tmp_path, pair):
    palette(*pair)
    result = detect_scene(fake(), *pair, tmp_path / 'change.tif', OPTIONS)
    assert result.summary['changed_pixels'] == 0  # black against 90


@pytest.mark.parametrize('across', [5e-6, -5e-6])
@pytest.mark.parametrize('down', [5e-6, -5e-6])
def test_rasters_in_degrees_may_be_mirrored(tmp_path, across, down):
    transform = Affine(across, 0, 15, 0, down, 45)
    dates = make_pair(tmp_path, 90, 130, boxes=[(20, 30, 30, 40)], crs='EPSG:4326', transform=transform)
    result = detect_scene(fake(), *dates, tmp_path / 'change.tif', OPTIONS)
    expected = np.zeros((90, 130), np.uint8)
    expected[20:50, 30:70] = 1
    np.testing.assert_array_equal(read_all(result.files['mask'])[0], expected)
    with rasterio.open(result.files['mask']) as dataset:
        assert dataset.transform == transform


def floats_with_nan(_, after):
    write(after, np.full((3, 300, 300), np.nan, np.float32))


def other_type(_, after):
    write(after, np.full((3, 300, 300), 900, np.uint16))


def complex_values(_, after):
    write(after, np.zeros((3, 300, 300), np.complex64))


def no_crs(_, after):
    write(after, crs=None)


def no_position(_, after):
    write(after, transform=rasterio.Affine.identity())


def no_georeference(before, _):
    write(before, crs=None, transform=rasterio.Affine.identity())


def control_points_only(_, after):
    points = [rasterio.control.GroundControlPoint(y, x, x, y) for x, y in [(0, 0), (9, 0), (0, 9)]]
    assert from_gcps(points)
    write(after, crs=None, transform=rasterio.Affine.identity())
    with rasterio.open(after, 'r+') as dataset:
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(4326))


def nan_position(_, after):
    write(after, transform=rasterio.Affine(0.5, 0, np.nan, 0, -0.5, 5_000_000))


def no_pixel_size(_, after):
    write(after, transform=rasterio.Affine(0.5, 0.5, 500_000, 0.5, 0.5, 5_000_000))


def disjoint(_, after):
    write(after, transform=from_origin(600_000, 5_000_000, 0.5, 0.5))


def other_zone(_, after):
    write(after, crs='EPSG:32650')


def metres_as_degrees(_, after):
    write(after, crs='EPSG:4326')


def nowhere(_, after):
    write(after, crs='LOCAL_CS["site",UNIT["metre",1]]')


def only_nodata(_, after):
    write(after, np.zeros((3, 300, 300), np.uint8), nodata=0)


def only_nodata_16(before, after):
    for path in (before, after):
        write(path, np.zeros((3, 300, 300), np.uint16), nodata=0)


def nodata_halves(before, after):
    for half, path in enumerate((before, after)):
        image = np.full((3, 300, 300), 9, np.uint8)
        image[:, :, half * 150 : half * 150 + 150] = 0
        write(path, image, nodata=0)


BAD = [
    (missing, 'does not exist'),
    (empty, 'cannot be read as a raster'),
    (text, 'cannot be read as a raster'),
    (folder, 'is a folder'),
    (truncated_header, 'cannot be read'),
    (truncated_pixels, 'cannot be read'),
    (damaged_pixels, 'cannot be read at row'),
    (zero_bands, 'cannot be read as a raster|contains several rasters'),
    (one_band, 'has 3 bands and .* 1: name those of both dates with --bands'),
    (eight_bands, '8 bands of uint8 and does not declare'),
    (floats_with_nan, 'uint8 and .*float32 values: .*--stretch 2%,98%'),
    (complex_values, 'complex64 values'),
    (other_type, 'uint8 and .*uint16'),
    (no_crs, 'no coordinate reference system'),
    (no_position, 'no position and pixel size'),
    (no_georeference, r'before\.tif has no coordinate reference system'),
    (control_points_only, r'is referenced by control points: warp it \(gdalwarp \S+ out\.tif\)$'),
    (nan_position, 'invalid position or pixel size|no position'),
    (no_pixel_size, 'invalid position or pixel size'),
    (disjoint, 'do not overlap'),
    (other_zone, 'do not overlap|cannot be transformed'),
    (metres_as_degrees, 'are not degrees'),
    (nowhere, 'cannot be transformed'),
    (only_nodata, 'no valid pixel in common'),
    (only_nodata_16, 'contains only nodata'),
    (nodata_halves, 'no valid pixel in common'),
]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(('spoil', 'sentence'), BAD, ids=[spoil.__name__ for spoil, _ in BAD])
def test_bad_rasters(tmp_path, pair, spoil, sentence):
    spoil(*pair)
    with pytest.raises(UserError, match=sentence) as caught:
        detect_scene(fake(), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
    assert '\n' not in str(caught.value)
    assert any(str(path) in str(caught.value) for path in pair)
    out = tmp_path / 'out'
    assert not out.exists() or not list(out.iterdir())  # no result, and nothing to go on with


@pytest.mark.parametrize(
    ('bands', 'sentence'),
    [
        ((1, 2), 'takes 3 bands per date, not 2'),
        ((1, 2, 4), r'has 3 bands of uint8, so --bands 1,2,4 cannot be .* give numbers'),
        ((1, 2, 3, 3), 'takes 3 bands per date, not 4'),
    ],
)
def test_bad_bands(tmp_path, pair, bands, sentence):
    options = SceneOptions(reading=Reading(bands))
    with pytest.raises(UserError, match=sentence):
        detect_scene(fake(), *pair, tmp_path / 'change.tif', options)


def test_bad_bands_of_one(tmp_path, pair):
    one_band(*pair)
    with pytest.raises(UserError, match=r'has 1 band of uint8, so --bands 1,2,3 cannot be .* give 1,1,1$'):
        detect_scene(fake(), *pair, tmp_path / 'change.tif', SceneOptions(reading=Reading((1, 2, 3))))


def test_other_number_of_bands(tmp_path, pair):
    image = np.zeros((4, 300, 300), np.uint8)
    write(pair[1], image, photometric='MINISBLACK')
    with rasterio.open(pair[1], 'r+') as dataset:
        dataset.colorinterp = [ColorInterp.undefined, ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    with pytest.raises(UserError, match=r'has 3 bands and .* 4: name those of both dates with --bands'):
        detect_scene(fake(), *pair, tmp_path / 'change.tif', OPTIONS)


def test_one_choice_of_bands_that_contradicts_one_file(tmp_path, pair):
    """The first date says that it is RGB; the second one, of four bands, says nothing."""
    bgrn = write(pair[1], np.zeros((4, 300, 300), np.uint8), photometric='MINISBLACK')
    with rasterio.open(bgrn, 'r+') as dataset:
        dataset.colorinterp = [ColorInterp.undefined] * 4
    sentence = r'before\.tif declares [123,]{5} as its red, green and blue bands, .* --bands, as 1,2,3/3,2,1$'
    with pytest.raises(UserError, match=sentence):
        detect_scene(fake(), *pair, tmp_path / 'change.tif', SceneOptions(reading=Reading((3, 2, 1))))


@pytest.mark.skipif(sys.platform != 'linux', reason='names are text on other systems')
@pytest.mark.parametrize('role', ['before', 'after', 'output'])
def test_names_in_another_encoding(tmp_path, pair, role):
    """GDAL takes UTF-8 alone; the files are intact, so nothing is called damaged."""
    foreign = tmp_path / os.fsdecode(b'caf\xe9.tif')
    places = {'before': pair[0], 'after': pair[1], 'output': tmp_path / 'out' / 'change.tif'}
    places[role] = foreign if role == 'output' else places[role].rename(foreign)
    with pytest.raises(UserError, match=r'caf\\udce9\.tif is not UTF-8: rename it'):
        detect_scene(fake(), *places.values(), OPTIONS)
    assert not (tmp_path / 'out').exists()
