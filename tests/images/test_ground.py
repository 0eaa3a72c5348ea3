"""The size of pixels on the ground."""

import numpy as np
import pytest

pytest.importorskip('shapely')
pytest.importorskip('pyogrio')

from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin

from hsonet_mm.images.ground import pixel_size

UTM = 'EPSG:32633'


class TestPixelSize:
    def test_of_a_projected_raster(self):
        # On the central meridian of UTM the map is 0.9996 of the ground.
        size = pixel_size(CRS.from_string(UTM), from_origin(500_000, 5_000_000, 0.5, 0.25), 40, 40)
        assert size == pytest.approx((0.25 / 0.9996, 0.5 / 0.9996), rel=1e-4)
        assert size.mean == pytest.approx(np.sqrt(0.125) / 0.9996, rel=1e-4)

    def test_of_degrees(self):
        step, latitude = 1e-5, np.radians(60)
        size = pixel_size(CRS.from_epsg(4326), from_origin(15, 60, step, step), 10, 10)
        # Radii of curvature of WGS 84, along the meridian and across it.
        square = 0.00669438
        across = 6_378_137 / np.sqrt(1 - square * np.sin(latitude) ** 2)
        down = 6_378_137 * (1 - square) / (1 - square * np.sin(latitude) ** 2) ** 1.5
        radians = np.radians(step)
        assert size == pytest.approx((down * radians, across * np.cos(latitude) * radians), rel=1e-4)

    def test_of_a_web_map(self):
        # At 60 degrees it shows everything twice as large, but for the flattening of the earth.
        y = 8_399_737.9
        size = pixel_size(CRS.from_epsg(3857), from_origin(1_600_000, y, 1, 1), 10, 10)
        assert size.mean == pytest.approx(0.5, rel=0.01)

    def test_of_feet(self):
        feet = pixel_size(CRS.from_epsg(2263), from_origin(980_000, 200_000, 1, 1), 10, 10)
        assert feet.mean == pytest.approx(0.3048, rel=1e-3)

    def test_of_a_turned_raster(self):
        turned = Affine.translation(500_000, 5_000_000) * Affine.rotation(30) * Affine.scale(0.5, -1)
        assert pixel_size(CRS.from_string(UTM), turned, 40, 40) == pytest.approx(
            (1 / 0.9996, 0.5 / 0.9996), rel=1e-4
        )

    def test_of_what_is_nowhere(self):
        assert pixel_size(CRS.from_epsg(4326), Affine(0, 0, 15, 0, 0, 50), 10, 10) is None
