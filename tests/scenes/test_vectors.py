"""Polygons in files: area and place on the ground, in any coordinate system."""

import json

import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
import shapely
from made_up_scene import SMALL, make_pair, replaced
from pyogrio.raw import read as read_vectors
from rasterio.transform import from_origin
from rasterio.warp import transform as transform_points

from hsonet_mm.scenes.scene import detect_scene

pytestmark = pytest.mark.any_host


class TestPolygons:
    @pytest.mark.parametrize('crs', ['EPSG:32633', 'EPSG:3857', 'EPSG:4326'])
    @pytest.mark.parametrize('polygons', ['gpkg', 'geojson'])
    def test_area(self, tmp_path, fake, crs, polygons):
        """60 x 40 pixels of known size on the ground at 48 degrees north, to 1 %."""
        east, north = (
            111_320 * np.cos(np.radians(48)) * 1.00185,
            111_190.0,
        )  # metres a degree on the ellipsoid
        (x,), (y,) = transform_points('EPSG:4326', crs, [15.1], [48.0])
        pixel = {'EPSG:32633': 0.5, 'EPSG:3857': 0.5 / np.cos(np.radians(48)), 'EPSG:4326': 0.5 / 111_190}
        transform = from_origin(x, y, pixel[crs], pixel[crs])
        before, after = make_pair(tmp_path, boxes=[(40, 50, 60, 40)], crs=crs, transform=transform)
        options = replaced(polygons=polygons)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', options)
        expected = 60 * 40 * (0.25 if crs != 'EPSG:4326' else pixel[crs] ** 2 * east * north)
        assert result.summary['changed_area_m2'] == pytest.approx(expected, rel=0.01)
        if polygons == 'gpkg':
            meta, _, shapes, fields = read_vectors(result.files['polygons'])
            values = dict(zip(meta['fields'], [field[0] for field in fields], strict=True))
            assert meta['crs'] == crs
            (shape,) = shapely.from_wkb(shapes)
            assert shape.bounds == pytest.approx(
                (x + 50 * pixel[crs], y - 100 * pixel[crs], x + 90 * pixel[crs], y - 40 * pixel[crs])
            )
        else:
            (feature,) = json.loads(result.files['polygons'].read_text())['features']
            values = feature['properties']
            shape = shapely.geometry.shape(feature['geometry'])
            assert shape.exterior.is_ccw
            (left,), (top,) = transform_points(crs, 'EPSG:4326', [x + 50 * pixel[crs]], [y - 40 * pixel[crs]])
            assert shape.bounds[0] == pytest.approx(left, abs=1e-6)
            assert shape.bounds[3] == pytest.approx(top, abs=1e-6)
            assert shape.area * east * north == pytest.approx(expected, rel=0.01)
        assert values['area_m2'] == pytest.approx(expected, rel=0.01)
        assert values['mean_prob'] == 1
        assert (values['before'], values['after']) == ('before', 'after')

    @pytest.mark.parametrize(
        'crs', ['EPSG:31467', '+proj=tmerc +lon_0=9 +x_0=3500000 +ellps=bessel +towgs84=577,90,463,5,1,5,2']
    )
    def test_polygons_lie_where_the_mask_does(self, tmp_path, fake, crs):
        """The second system is much like the first one, so that PROJ finds it a code, but lies elsewhere."""
        transform = from_origin(3_500_000, 5_300_000, 0.5, 0.5)
        before, after = make_pair(tmp_path, crs=rasterio.CRS.from_string(crs), transform=transform)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        meta, _, _, _ = read_vectors(result.files['polygons'])
        with rasterio.open(result.files['mask']) as dataset:
            places = [
                transform_points(one, 'EPSG:4326', [3_500_000.0], [5_300_000.0])
                for one in (dataset.crs, rasterio.CRS.from_string(meta['crs']))
            ]
        np.testing.assert_allclose(*places, atol=1e-7)

    def test_geojson_is_cut_at_180_degrees(self, tmp_path, fake):
        (x,), (y,) = transform_points('EPSG:4326', 'EPSG:32760', [180.0], [-17.0])
        transform = from_origin(x - 35, y, 0.5, 0.5)
        before, after = make_pair(tmp_path, crs='EPSG:32760', transform=transform)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', replaced(polygons='geojson'))
        (feature,) = json.loads(result.files['polygons'].read_text())['features']
        shape = shapely.geometry.shape(feature['geometry'])
        west, east = sorted(shape.geoms, key=lambda part: -part.bounds[0])
        assert (west.bounds[2], east.bounds[0]) == (180, -180)
        assert west.exterior.is_ccw
        assert east.exterior.is_ccw
        metres = 111_320 * np.cos(np.radians(17)) * 110_600 * 1.0003
        assert shape.area * metres == pytest.approx(feature['properties']['area_m2'], rel=0.01)
