"""The cache of GDAL."""

import subprocess
import sys

import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

from rasterio.env import get_gdal_config

from hsonet_mm.geo.environment import limited_cache

pytestmark = pytest.mark.any_host


class TestCache:
    def test_gdal_keeps_128_mib_decoded_unless_told_otherwise(self, tool_env, monkeypatch):
        monkeypatch.delenv('GDAL_CACHEMAX', raising=False)
        with limited_cache():
            assert get_gdal_config('GDAL_CACHEMAX') == 128 * 2**20
        code = (
            'from rasterio.env import get_gdal_config\n'
            'from hsonet_mm.geo.environment import limited_cache\n'
            "with limited_cache(): print(get_gdal_config('GDAL_CACHEMAX'))"
        )
        env = {**tool_env, 'GDAL_CACHEMAX': '300MB'}
        done = subprocess.run([sys.executable, '-c', code], env=env, check=True, stdout=subprocess.PIPE)
        assert int(done.stdout) == 300 * 2**20
