"""Results that are up to date are taken as they are."""

import os

import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio.shutil
from made_up_scene import SMALL, make_pair, replaced

from hsonet_mm.scenes.scene import detect_scene

pytestmark = pytest.mark.any_host


class TestEarlierResults:
    def test_second_run_takes_what_is_there(self, tmp_path, fake):
        before, after = make_pair(tmp_path)
        first = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        calls = fake.calls
        again = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        assert not again.fresh
        assert again.summary == first.summary
        assert fake.calls == calls
        first.files['mask'].unlink()
        assert detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL).fresh
        assert detect_scene(fake, before, after, tmp_path / 'change.tif', replaced(min_area=5)).fresh
        os.utime(after, (1, 1))
        assert detect_scene(fake, before, after, tmp_path / 'change.tif', replaced(min_area=5)).fresh

    def test_sources_of_a_vrt_are_inputs_too(self, tmp_path, fake):
        before, after = make_pair(tmp_path)
        vrt = tmp_path / 'after.vrt'
        rasterio.shutil.copy(after, vrt, driver='VRT')
        assert detect_scene(fake, before, vrt, tmp_path / 'change.tif', SMALL).fresh
        (tmp_path / 'after.vrt.aux.xml').write_text('<PAMDataset/>')  # QGIS leaves one
        assert not detect_scene(fake, before, vrt, tmp_path / 'change.tif', SMALL).fresh
        os.utime(after, (1, 1))
        assert detect_scene(fake, before, vrt, tmp_path / 'change.tif', SMALL).fresh
