"""Pixel sizes on the ground, by rasterio; imported only where needed, because that takes half a second."""

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.env import ensure_env
from rasterio.transform import Affine
from rasterio.warp import transform as transform_points

from hsonet_mm.errors import UserError
from hsonet_mm.images.gdal import GDAL_ERRORS, reason
from hsonet_mm.images.raster import coordinates

__all__ = ['PixelSize', 'check_proj', 'ground_points', 'pixel_size', 'pixel_size_at', 'pixel_steps']


class PixelSize(NamedTuple):
    """Metres on the ground from one pixel to the next: down a column, and across a row."""

    down: float
    across: float

    @property
    def mean(self) -> float:
        """The side of a square of the same area."""
        return float(np.sqrt(self.down * self.across))


@ensure_env  # or GDAL prints its errors
def check_proj() -> None:
    """Check that PROJ uses the database that it was built with."""
    try:
        transform_points(CRS.from_epsg(4326), CRS.from_epsg(32633), [15], [50])
    except (*GDAL_ERRORS, ValueError) as error:
        name = next((name for name in ('PROJ_DATA', 'PROJ_LIB') if os.environ.get(name)), None)
        if name is None:
            raise UserError(
                f'rasterio does not find the PROJ database ({reason(error)}): install rasterio again'
            ) from None
        raise UserError(
            f'{name}={os.environ[name]} is not the PROJ database that rasterio brings, but that of another '
            f'installation, as conda, QGIS and PostGIS set it: unset {name} and run the command again'
        ) from None


def pixel_size(crs: CRS, transform: Affine, height: int, width: int) -> PixelSize | None:
    """Pixel size at the centre of a raster; None if unknown.

    Degrees and web maps are measured where they are.
    """
    x, y = map(float, coordinates(transform, np.float64(width / 2), np.float64(height / 2)))
    return pixel_size_at(crs, transform, x, y)


def pixel_size_at(crs: CRS, transform: Affine, x: float, y: float) -> PixelSize | None:
    """Pixel size at a place in coordinates of the raster; None if unknown."""
    try:
        across, down = np.linalg.norm(pixel_steps(crs, transform, x, y), axis=0).tolist()
    except GDAL_ERRORS:
        check_proj()
        return None
    return PixelSize(down, across) if np.isfinite([down, across]).all() and min(down, across) > 0 else None


def pixel_steps(crs: CRS, transform: Affine, x: float, y: float) -> NDArray[np.float64]:
    """Metres in space from a place to where a pixel lies in the next column, and in the next row, (3, 2)."""
    a, b, _, d, e, _ = transform[:6]
    points = ground_points(crs, np.array([x, x + a, x + b]), np.array([y, y + d, y + e]))
    return points[:, 1:] - points[:, :1]


@ensure_env
def ground_points(crs: CRS, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where places lie in space, in metres from the centre of the earth, (3, N).

    Those of a system that is nowhere on the globe, or of a map that reaches beyond it, lie in a plane. Latitudes
    beyond a pole, where the corners of a raster may lie, are taken for the pole.
    """
    geocentric = CRS.from_epsg(4978)
    limit = np.pi / 2 / crs.units_factor[1] if crs.is_geographic else np.inf
    try:
        ys = ys.clip(-limit, limit)
        points = transform_points(crs, geocentric, xs.tolist(), ys.tolist(), [0.0] * len(xs))
    except GDAL_ERRORS:
        if crs.is_geographic:
            raise
        points = xs * crs.units_factor[1], ys * crs.units_factor[1], np.zeros(len(xs))
    return np.array(points)
