"""Labels as polygons: burnt onto the grid of the image, whatever their reference system, or one sentence."""

import zipfile

import numpy as np
import pytest

pyogrio = pytest.importorskip('pyogrio')
shapely = pytest.importorskip('shapely')
rasterio = pytest.importorskip('rasterio')
from PIL import Image  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402
from rasterio.warp import transform  # noqa: E402

from hsonet_mm.errors import UserError  # noqa: E402
from hsonet_mm.preparation.prepare import PrepareOptions, prepare_dataset  # noqa: E402

pytestmark = pytest.mark.any_host

UTM = 'EPSG:32633'
WEST, NORTH, PIXEL = 500_000.0, 5_000_000.0, 0.5
EXPECTED = np.zeros((64, 64), np.uint8)
EXPECTED[4:20, 10:30] = 255
HOUSE = shapely.box(WEST + 10 * PIXEL, NORTH - 20 * PIXEL, WEST + 30 * PIXEL, NORTH - 4 * PIXEL)


def raster(path, seed, crs=UTM, west=WEST):
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {'crs': crs, 'transform': from_origin(west, NORTH, PIXEL, PIXEL)} if crs else {}
    image = np.random.default_rng(seed).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    with rasterio.open(
        path, 'w', driver='GTiff', width=64, height=64, count=3, dtype='uint8', **place
    ) as file:
        file.write(image)


def polygons(path, shapes, crs=UTM, kind='Polygon'):
    path.parent.mkdir(parents=True, exist_ok=True)
    wkb = shapely.to_wkb(np.array(shapes, object))
    pyogrio.raw.write(str(path), wkb, [], [], crs=crs, geometry_type=kind)


def degrees(shape):
    return shapely.transform(
        shape, lambda points: np.column_stack(transform(UTM, 'EPSG:4326', points[:, 0], points[:, 1]))
    )


@pytest.fixture
def source(tmp_path):
    raster(tmp_path / 's/A/x.tif', 0)
    raster(tmp_path / 's/B/x.tif', 1)
    return tmp_path / 's'


def burnt(source, **options):
    out = source.parent / 'out'
    manifest = prepare_dataset(source, out, PrepareOptions(64, val=0, test=0, **options), overwrite=True)
    return np.asarray(Image.open(out / 'train/label/x.png')), manifest


@pytest.mark.parametrize('suffix', ['gpkg', 'shp', 'geojson'])
@pytest.mark.parametrize('crs', [UTM, 'EPSG:4326'])
def test_polygons_become_the_pixels_they_cover(source, suffix, crs):
    if suffix == 'geojson' and crs == UTM:
        pytest.skip('GeoJSON is in degrees')
    polygons(source / f'label/x.{suffix}', [HOUSE if crs == UTM else degrees(HOUSE)], crs)
    np.testing.assert_array_equal(burnt(source)[0], EXPECTED)


def test_no_polygon_is_no_change(source):
    polygons(source / 'label/x.gpkg', [])
    assert not burnt(source)[0].any()


def test_one_file_for_all_scenes(source):
    for role, seed in (('A', 2), ('B', 3)):
        raster(source / role / 'y.tif', seed, west=WEST + 64 * PIXEL)
    polygons(source / 'all.gpkg', [HOUSE])
    label, manifest = burnt(source, folders=('A', 'B', 'all.gpkg'))
    np.testing.assert_array_equal(label, EXPECTED)
    assert {tile['scene']: tile['changed'] for tile in manifest['files']} == {'x': 320, 'y': 0}
    polygons(source / 'away.gpkg', [shapely.box(0, 0, 1, 1)], 'EPSG:4326')
    with pytest.raises(UserError, match=r'no polygon of away\.gpkg \(EPSG:4326\) overlaps an image'):
        burnt(source, folders=('A', 'B', 'away.gpkg'))


def test_polygons_in_an_archive(source, tmp_path):
    polygons(source / 'label/x.shp', [HOUSE])
    with zipfile.ZipFile(tmp_path / 'set.zip', 'w') as archive:
        for path in source.rglob('*.*'):
            archive.write(path, path.relative_to(source))
    out = tmp_path / 'out'
    prepare_dataset(tmp_path / 'set.zip', out, PrepareOptions(64, val=0, test=0))
    np.testing.assert_array_equal(np.asarray(Image.open(out / 'train/label/x.png')), EXPECTED)


@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (lambda path: polygons(path / 'x.shp', [HOUSE], None), r'x\.shp has no coordinate reference system'),
        (
            lambda path: polygons(path / 'x.gpkg', [HOUSE], 'EPSG:4326'),
            r'x\.gpkg declares degrees \(EPSG:4326\), but its coordinates reach 4999998',
        ),
        (
            lambda path: polygons(path / 'x.gpkg', [shapely.box(0, 0, 1, 1)], 'EPSG:4326'),
            r'no polygon of label/x\.gpkg \(EPSG:4326\) overlaps A/x\.tif',
        ),
        (
            lambda path: polygons(path / 'x.gpkg', [shapely.Point(WEST, NORTH)], UTM, 'Point'),
            r'x\.gpkg contains geometries of type point: give polygons',
        ),
        (
            lambda path: path.mkdir() or (path / 'x.gpkg').write_bytes(b'nothing'),
            r'the label label/x\.gpkg cannot be read',
        ),
    ],
    ids=['no crs', 'wrong crs', 'elsewhere', 'points', 'damaged'],
)
def test_polygons_that_cannot_be_burnt(source, write, message):
    write(source / 'label')
    with pytest.raises(UserError, match=message):
        burnt(source)


def test_image_without_a_place(source):
    raster(source / 'A/x.tif', 0, crs=None)
    polygons(source / 'label/x.gpkg', [HOUSE])
    with pytest.raises(UserError, match=r'A/x\.tif is not georeferenced, so the polygons of label/x\.gpkg'):
        burnt(source)
