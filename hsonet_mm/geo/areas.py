"""Area of a scene's pixels on the ground."""

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine

from hsonet_mm.images.ground import ground_points
from hsonet_mm.images.raster import coordinates

__all__ = ['PixelAreas']

_NODES = 33


class PixelAreas:
    """Square metres that a pixel covers on the ellipsoid, wherever it lies in a scene.

    Projected systems distort areas too: those of web maps by a factor of two at 45 degrees. So pixels at 33 x 33
    places of the scene are measured in space, between their corners on the ellipsoid, and areas between these
    places are interpolated. [our choice]

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
        points = ground_points(crs, xs.ravel(), ys.ravel()).reshape(3, *xs.shape)
        across = np.cross(points[:, 2] - points[:, 0], points[:, 3] - points[:, 1], axis=0)
        self._areas = np.linalg.norm(across, axis=0).reshape(_NODES, _NODES) / 2
        self.step = float(np.linalg.norm(points[:, 1] - points[:, 0], axis=0)[xs.shape[1] // 2])

    def __call__(self, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Areas in square metres of pixels about these places, (N,)."""
        y, x = rows / self._scale[0], columns / self._scale[1]
        top, left = (np.clip(value.astype(int), 0, _NODES - 2) for value in (y, x))
        y, x = y - top, x - left
        upper = (1 - x) * self._areas[top, left] + x * self._areas[top, left + 1]
        lower = (1 - x) * self._areas[top + 1, left] + x * self._areas[top + 1, left + 1]
        return (1 - y) * upper + y * lower
