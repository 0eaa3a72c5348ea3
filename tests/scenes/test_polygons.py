"""Changed regions, strip by strip."""

import cv2
import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import shapely
from made_up_scene import make_pair, replaced
from pyogrio.raw import read as read_vectors
from rasterio.transform import Affine

from hsonet_mm.scenes.polygons import Polygoniser
from hsonet_mm.scenes.scene import detect_scene

pytestmark = pytest.mark.any_host


class TestPolygons:
    @pytest.mark.parametrize('strip', [60, 60 * 7, 60 * 1000])
    def test_strips_give_the_same_regions(self, monkeypatch, strip):
        """Regions across strips, with holes, branches and corners that touch, against those of the whole."""
        rng = np.random.default_rng(3)
        mask = (cv2.GaussianBlur(rng.random((50, 60)), (0, 0), 1.2) > 0.5).astype(np.uint8)
        mask[10:40, 20] = mask[10, 20:40] = mask[10:40, 40] = 1
        mask[30, 3:9] = 255
        probs = rng.random((50, 60)).astype(np.float32)
        monkeypatch.setattr('hsonet_mm.scenes.polygons.STRIP_PIXELS', strip)
        regions = Polygoniser(
            lambda first, last: (mask[first:last], probs[first:last]),
            60,
            50,
            Affine.translation(7, 9) * Affine.scale(2, -2),
            lambda rows, _: np.full(len(rows), 4.0),
            min_area=12,
        )
        found = list(regions)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (mask == 1).astype(np.uint8), connectivity=4
        )
        large = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] * 4 >= 12]
        assert 5 < len(large) < count - 1
        assert (regions.given, regions.small) == (len(large), count - 1 - len(large))
        assert regions.valid == 50 * 60 - 6
        assert regions.changed == (mask == 1).sum()
        assert regions.changed_area == 4 * regions.changed
        expected = {
            (4.0 * (labels == label).sum(), round(float(probs[labels == label].mean()), 5)) for label in large
        }
        assert {(polygon.area, round(polygon.prob, 5)) for polygon in found} == expected
        for polygon in found:
            assert polygon.geometry.is_valid
            assert polygon.geometry.area == polygon.area
            place = shapely.get_coordinates(polygon.geometry.representative_point())[0]
            row, column = int((9 - place[1]) // 2), int((place[0] - 7) // 2)
            assert mask[row, column] == 1
        assert shapely.union_all([polygon.geometry for polygon in found]).area == sum(p.area for p in found)

    def test_small_ones_are_left_out(self, tmp_path, fake):
        boxes = [(10, 10, 6, 6), (100, 100, 20, 20), (200, 200, 20, 20)]
        before, after = make_pair(tmp_path, boxes=boxes)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', replaced(min_area=20))
        assert result.summary['polygons'] == 2
        assert result.summary['polygons_left_out'] == 1
        assert result.summary['changed_pixels'] == 36 + 800  # the mask keeps it
        assert len(read_vectors(result.files['polygons'])[2]) == 2
