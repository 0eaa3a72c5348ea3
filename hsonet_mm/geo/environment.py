"""Settings of GDAL for reading scenes."""

import os

import rasterio

__all__ = ['limited_cache']

CACHE_MIB = 128
"""Decoded blocks that GDAL keeps, for all rasters together."""

SERVERS = {
    'GDAL_HTTP_CONNECTTIMEOUT': 20,
    'GDAL_HTTP_LOW_SPEED_LIMIT': 1,
    'GDAL_HTTP_LOW_SPEED_TIME': 60,
    'GDAL_HTTP_MAX_RETRY': 3,
    'GDAL_HTTP_RETRY_DELAY': 1,
}
"""How GDAL deals with servers: seconds to wait, bytes a second, attempts."""


def limited_cache() -> rasterio.Env:
    """Limit GDAL's cache of decoded blocks, and the time that it waits for servers.

    What the environment says about it counts.
    """
    wanted = {'GDAL_CACHEMAX': CACHE_MIB * 2**20, **SERVERS}
    return rasterio.Env(**{name: value for name, value in wanted.items() if name not in os.environ})
