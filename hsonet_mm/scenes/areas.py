"""The true area of a scene's pixels on the ground."""

import re

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform as transform_points

from hsonet_mm.scenes.headers import GDAL_ERRORS, coordinates

__all__ = ['PixelAreas']

_NODES = 33


class PixelAreas:
    """Square metres that a pixel covers on the ellipsoid, wherever it lies in a scene.

    Projected systems distort areas too: those of web maps by a factor of two at 45 degrees. So the corners of
    pixels at 33 x 33 places of the scene are brought into Lambert's equal-area projection about its centre, and
    areas between these places are interpolated. [our choice]

    Args:
        crs: Reference system of the scene.
        transform: From columns and rows to its coordinates.
        width: Columns of the scene.
        height: Rows of the scene.

    Attributes:
        step: Metres on the ground from a column to the next one, in the middle of the scene.
    """

    def __init__(self, crs: CRS, transform: Affine, width: int, height: int) -> None:
        self._scale = np.array([height, width]) / (_NODES - 1)
        rows, columns = (nodes.ravel() for nodes in np.indices((_NODES, _NODES)) * self._scale[:, None, None])
        corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])  # columns and rows around a pixel
        xs, ys = coordinates(
            transform, columns - 0.5 + corners[:, :1], rows - 0.5 + corners[:, 1:]
        )  # (4, nodes)
        try:
            middle = coordinates(transform, np.array([width / 2]), np.array([height / 2]))
            (longitude,), (latitude,) = transform_points(crs, CRS.from_epsg(4326), *middle)[:2]
            equal_area = CRS.from_string(
                f'+proj=laea +lat_0={latitude} +lon_0={longitude} +datum=WGS84 +units=m'
            )
            points = transform_points(crs, equal_area, xs.ravel().tolist(), ys.ravel().tolist())[:2]
            xs, ys = (np.reshape(values, xs.shape) for values in points)
        except GDAL_ERRORS:  # a local system that is nowhere on the globe
            units = re.findall(r'UNIT\["[^"]*",\s*([0-9.eE+-]+)', crs.to_wkt())
            xs, ys = xs * float(units[-1]), ys * float(units[-1])
        xs, ys = xs - xs[0], ys - ys[0]  # large numbers cancel
        twice = sum(xs[k] * ys[(k + 1) % 4] - xs[(k + 1) % 4] * ys[k] for k in range(4))
        self._areas = np.abs(twice / 2).reshape(_NODES, _NODES)
        self.step = float(np.hypot(xs[1], ys[1])[xs.shape[1] // 2])

    def __call__(self, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Areas in square metres of pixels about these places, (N,)."""
        y, x = rows / self._scale[0], columns / self._scale[1]
        top, left = (np.clip(value.astype(int), 0, _NODES - 2) for value in (y, x))
        y, x = y - top, x - left
        upper = (1 - x) * self._areas[top, left] + x * self._areas[top, left + 1]
        lower = (1 - x) * self._areas[top + 1, left] + x * self._areas[top + 1, left + 1]
        return (1 - y) * upper + y * lower
