"""Polygons as scripts that a page loads."""

import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

from made_up_view import make_scene, manifest, outlines

from hsonet_mm.scenes.scene import SceneOptions
from hsonet_mm.viewer.page import view_scene

pytestmark = pytest.mark.any_host


class TestOutlines:
    def test_polygons_are_in_pixels(self, scene):
        _, folder = scene
        found = outlines(folder)
        assert len(found) == 3  # one of the boxes is below the threshold
        by_area = sorted(found, key=lambda polygon: -polygon[0])
        area, prob, rings = by_area[0]
        assert area == pytest.approx((80 * 60 - 20 * 20) * 0.25, rel=2e-3)
        assert prob == pytest.approx(200 / 255, abs=2e-3)
        assert sorted(map(sorted, rings)) == sorted([
            sorted([[70, 60], [130, 60], [130, 140], [70, 140]]),
            sorted([[90, 80], [110, 80], [110, 100], [90, 100]]),
        ])  # fmt: skip
        assert manifest(folder)['polygonScripts'] == 1

    @pytest.mark.parametrize('kind', ['geojson', 'gpkg'])
    def test_many_polygons_come_in_parts(self, tmp_path, monkeypatch, kind):
        boxes = tuple((10 * n, 20 * n, 5, 7, 255) for n in range(5))
        path = make_scene(
            tmp_path,
            90,
            120,
            boxes,
            SceneOptions(tile=128, overlap=32, min_area=0, polygons=kind),
            hole=False,
        )
        monkeypatch.setattr('hsonet_mm.viewer.outlines.CHUNK', 2)
        folder = view_scene(path).folder
        assert sorted(file.name for file in (folder / 'polygons').iterdir()) == ['0.js', '1.js', '2.js']
        assert manifest(folder)['polygonScripts'] == 3
        corners = sorted(sorted(rings[0])[0] for _, _, rings in outlines(folder))
        assert corners == [[20 * n, 10 * n] for n in range(5)]

    def test_without_polygons(self, tmp_path):
        options = SceneOptions(tile=128, overlap=32, polygons='none')
        path = make_scene(tmp_path, 90, 120, ((5, 5, 20, 20, 255),), options, hole=False)
        folder = view_scene(path).folder
        assert manifest(folder)['polygonScripts'] == 0
        assert not (folder / 'polygons').exists()
        assert '<div class="group" hidden>' in (folder / 'index.html').read_text()
