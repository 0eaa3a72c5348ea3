"""Where two rasters overlap."""

import numpy as np
from rasterio.warp import transform as transform_points
from rasterio.warp import transform_bounds

from hsonet_mm.errors import UserError
from hsonet_mm.geo.headers import RasterInfo
from hsonet_mm.images.gdal import GDAL_ERRORS
from hsonet_mm.images.raster import Bounds, coordinates

__all__ = ['bounds_in', 'common_middle', 'covered_share', 'whole_turns']

_PLACES = 128
"""Rows and columns of the places by which it is found how much of a raster another one covers."""


def bounds_in(info: RasterInfo, other: RasterInfo) -> Bounds:
    """Bounds of a raster in the reference system of another one; infinite where they cannot be found."""
    try:
        left, bottom, right, top = transform_bounds(info.crs, other.crs, *info.bounds)
    except GDAL_ERRORS:
        return np.inf, np.inf, np.inf, np.inf
    if other.crs.is_geographic:  # a longitude is the same place after a turn
        west, _, east, _ = other.bounds
        right += 360 * (left > right)
        if np.isfinite([left, right]).all():
            turns = 360 * round((west + east - left - right) / 720)
            left, right = left + turns, right + turns
    return left, bottom, right, top


def whole_turns(t1: RasterInfo, t2: RasterInfo, found: Bounds) -> int:
    """Degrees, in whole turns, by which the second date is moved to overlap with the first."""
    if not (t1.crs.is_geographic and t2.crs.is_geographic and np.isfinite(found).all()):
        return 0
    west, _, east, _ = t1.bounds
    pixel = abs(t1.transform.a) + abs(t1.transform.b)
    if any(min(east, found[2] + more) - max(west, found[0] + more) > pixel for more in (-360, 360)):
        raise UserError(
            f'{t1.path}, at longitudes {west:g} to {east:g}, overlaps both ends of {t2.path}, at '
            f'{t2.bounds[0]:g} to {t2.bounds[2]:g}: warp the second one to the longitudes of the first '
            f'(gdalwarp -te {west:g} SOUTH {east:g} NORTH)'
        )
    return 360 * round((found[0] + found[2] - t2.bounds[0] - t2.bounds[2]) / 720)


def common_middle(one: Bounds, other: Bounds) -> tuple[float, float] | None:
    """The centre of the intersection of two boxes; None if it is empty."""
    left, bottom = max(one[0], other[0]), max(one[1], other[1])
    right, top = min(one[2], other[2]), min(one[3], other[3])
    if not np.isfinite(other).all() or left >= right or bottom >= top:
        return None
    return (left + right) / 2, (bottom + top) / 2


def covered_share(t1: RasterInfo, t2: RasterInfo) -> float:
    """Share of the extent of a raster that lies in that of another one, by a sample of places; 1 if unknown."""
    rows, columns = (np.indices((_PLACES, _PLACES)).reshape(2, -1) + 0.5) / _PLACES
    xs, ys = coordinates(t1.transform, columns * t1.width, rows * t1.height)
    if t1.crs != t2.crs:
        try:
            xs, ys = map(np.array, transform_points(t1.crs, t2.crs, xs, ys)[:2])
        except GDAL_ERRORS:
            return 1.0
    known = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[known], ys[known]
    if t2.crs.is_geographic:  # a longitude is the same place after a turn
        left, _, right, _ = t2.bounds
        xs = xs + 360 * np.round(((left + right) / 2 - xs) / 360)
    columns, rows = coordinates(~t2.transform, xs, ys)
    inside = (columns >= 0) & (columns <= t2.width) & (rows >= 0) & (rows <= t2.height)
    return float(inside.sum() / len(known))
