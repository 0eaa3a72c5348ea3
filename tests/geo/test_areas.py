"""Areas of pixels on the ellipsoid."""

import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
from rasterio.transform import from_origin

from hsonet_mm.geo.areas import PixelAreas

pytestmark = pytest.mark.any_host

UTM = 'EPSG:32633'


def zone(latitude):
    """Square metres of the ellipsoid from the equator to a latitude in degrees."""
    a, e = 6_378_137, 0.0818191908426
    s = np.sin(np.radians(latitude))
    return np.pi * a**2 * (1 - e**2) * (s / (1 - (e * s) ** 2) + np.arctanh(e * s) / e)


class TestAreas:
    def test_local_system(self):
        crs = rasterio.crs.CRS.from_wkt('LOCAL_CS["site",UNIT["foot",0.3048]]')
        areas = PixelAreas(crs, from_origin(0, 0, 2, 2), 10, 10)
        assert areas(np.array([3.0]), np.array([10.0])) == pytest.approx((2 * 0.3048) ** 2)

    @pytest.mark.parametrize(('top', 'height'), [(90, 26), (90.5, 26), (-64.5, 26), (90, 180)])
    def test_areas_up_to_a_pole(self, top, height):
        """Rows of one degree around the globe, the first or last half beyond a pole, against the zone they cover."""
        areas = PixelAreas(rasterio.crs.CRS.from_epsg(4326), from_origin(-180, top, 1, 1), 360, height)
        rows, columns = np.indices((height, 360)).reshape(2, -1) + 0.5
        expected = zone(min(top, 90)) - zone(max(top - height, -90))
        assert areas(rows, columns).sum() == pytest.approx(expected, rel=0.002)

    def test_areas_vary_over_a_large_scene(self):
        areas = PixelAreas(rasterio.crs.CRS.from_epsg(4326), from_origin(10, 60, 0.01, 0.01), 1000, 1000)
        at = areas(np.array([0.5, 999.5]), np.array([500.0, 500.0]))
        assert at[0] / at[1] == pytest.approx(np.cos(np.radians(60)) / np.cos(np.radians(50)), rel=0.01)

    @pytest.mark.parametrize(
        ('crs', 'pixel', 'metres'), [(UTM, 0.5, 0.5), ('EPSG:4326', 1e-5, 0.557), ('EPSG:3857', 2, 1)]
    )
    def test_scale(self, crs, pixel, metres):
        """Metres of a column, at 60 degrees north, where the cosine is a half."""
        x, y = {'EPSG:4326': (15, 60), 'EPSG:3857': (1_669_792, 8_399_738), UTM: (500_000, 6_651_000)}[crs]
        areas = PixelAreas(rasterio.crs.CRS.from_string(crs), from_origin(x, y, pixel, pixel), 100, 100)
        assert areas.step == pytest.approx(metres, rel=0.01)
