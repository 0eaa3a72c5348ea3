"""What the header of a raster says, and whether it can be one date of a scene."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine

from hsonet_mm.errors import UserError

__all__ = [
    'GDAL_ERRORS',
    'RasterInfo',
    'coordinates',
    'file_state',
    'file_states',
    'open_raster',
    'read_dates',
    'read_info',
    'reason',
]

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises for what GDAL reports; some of it comes through as it is."""


@dataclass(frozen=True)
class RasterInfo:
    """What the header of a raster says.

    Attributes:
        path: The file.
        crs: Coordinate reference system.
        transform: From columns and rows to coordinates.
        width: Columns.
        height: Rows.
        bands: The three bands to read, red, green and blue, from 1.
        said: Those that the file itself calls so; None where it does not.
        dtype: Their type.
        colours: Number of bands but the alpha band.
        files: The file and those that belong to it, such as the sources of a VRT; not the statistics beside it, which
            every viewer writes.
        state: Size and time of these, to notice that one was changed.
    """

    path: Path
    crs: CRS
    transform: Affine
    width: int
    height: int
    bands: tuple[int, ...]
    said: tuple[int, ...] | None
    dtype: str
    colours: int
    files: tuple[Path, ...]
    state: tuple[tuple[int, int], ...]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top of all corners in coordinates."""
        columns, rows = np.array([(0, 0), (0, self.height), (self.width, 0), (self.width, self.height)]).T
        xs, ys = coordinates(self.transform, columns, rows)
        return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())


def coordinates(
    transform: Affine, columns: NDArray[np.generic], rows: NDArray[np.generic]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates of places in a raster, counted in pixels from the outer corner of its first one."""
    a, b, c, d, e, f = transform[:6]
    return a * columns + b * rows + c, d * columns + e * rows + f


def file_state(path: Path) -> tuple[int, int]:
    """Size and time of change of a file.

    Raises:
        UserError: if there is none.
    """
    try:
        state = path.stat()
    except (OSError, ValueError):
        raise UserError(f'{path} does not exist: give a georeferenced raster such as a GeoTIFF') from None
    return state.st_size, state.st_mtime_ns


def file_states(files: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    """The state of each file, see :func:`file_state`."""
    return tuple(file_state(file) for file in files)


def read_info(path: Path, bands: Sequence[int] | None = None) -> RasterInfo:
    """Read and check the header of a raster.

    Args:
        path: The file.
        bands: Numbers of red, green and blue from 1; by default as the file says, or 1, 2, 3 of three bands.

    Raises:
        UserError: if the raster cannot be one date of a scene; the sentence says why.
    """
    file_state(path)
    if path.is_dir():
        raise UserError(f'{path} is a folder: give a raster, or folders for both dates')
    with open_raster(path) as dataset:
        if not dataset.count or not dataset.width or not dataset.height:
            raise UserError(
                f'{path} holds no bands itself: take one of its rasters out (gdalinfo lists their names; '
                'gdal_translate NAME out.tif)'
            )
        colours = [n for n, kind in enumerate(dataset.colorinterp, 1) if kind != ColorInterp.alpha]
        chosen = _choose_bands(dataset, colours, bands, path)
        dtypes = {dataset.dtypes[band - 1] for band in chosen}
        if len(dtypes) > 1 or not dtypes <= {'uint8', 'uint16', 'int16'}:
            raise UserError(
                f'{path} holds {" and ".join(sorted(dtypes))} values where whole numbers of 8 or 16 bits are needed: '
                'convert both dates with one range (gdal_translate -ot UInt16 -scale MIN MAX 1 65535 -a_nodata 0)'
            )
        _check_georeference(dataset, path)
        files = _files(dataset, path)
        return RasterInfo(
            path,
            dataset.crs,
            dataset.transform,
            dataset.width,
            dataset.height,
            chosen,
            _said(dataset),
            dtypes.pop(),
            len(colours),
            files,
            file_states(files),
        )


def read_dates(
    before: Path, after: Path, bands: Sequence[int] | None = None
) -> tuple[RasterInfo, RasterInfo]:
    """Read and check the headers of both dates of a scene.

    Args:
        before: The first date.
        after: The second date.
        bands: Numbers of red, green and blue from 1, three for both dates or six, before and after; by default as the
            files say, or 1, 2, 3 of three bands.

    Raises:
        UserError: if one cannot be a date of a scene, or it is not clear which bands go together.
    """
    each = bands is not None and len(bands) == 6
    first, second = (bands[:3], bands[3:]) if bands is not None and each else (bands, bands)
    dates = read_info(before, first), read_info(after, second)
    t1, t2 = dates
    if bands is None and t1.colours != t2.colours and t1.bands != t2.bands:
        raise UserError(
            f'{before} has {t1.colours} bands and {after} {t2.colours}: name those of both dates by --bands, as '
            '1,2,3/3,2,1'
        )
    for one in dates:
        if not each and t1.said != t2.said and one.said not in (None, one.bands):
            raise UserError(
                f'{one.path} says that its red, green and blue are {_joined(one.said)}, and the other date does not: '
                f'name those of both by --bands, as {_joined(t1.said or t1.bands)}/{_joined(t2.said or t2.bands)}'
            )
    return dates


def open_raster(path: Path) -> Any:
    """Open a raster with rasterio.

    Raises:
        UserError: if it is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', NotGeoreferencedWarning)
            return rasterio.open(path)
    except (*GDAL_ERRORS, ValueError, TypeError) as error:
        raise UserError(
            f'{path} cannot be read as a raster, it is damaged or of another kind ({reason(error)}): copy it again '
            'or convert it to GeoTIFF'
        ) from None


def reason(error: BaseException) -> str:
    """The first line of what GDAL says, without the name of the file."""
    cause = error.__cause__ or error
    return (
        str(cause).strip().splitlines()[0].rstrip('.')[:160] if str(cause).strip() else type(cause).__name__
    )


def _files(dataset: Any, path: Path) -> tuple[Path, ...]:
    """The file and those on the disk that GDAL reads with it, but for statistics."""
    others = (Path(name) for name in dataset.files if not name.endswith('.aux.xml'))
    return path, *(other for other in others if other != path and other.is_file())


def _choose_bands(
    dataset: Any, colours: list[int], bands: Sequence[int] | None, path: Path
) -> tuple[int, ...]:
    if bands is not None:
        if len(bands) != 3 or min(bands) < 1 or max(bands) > dataset.count:
            numbers = '1,1,1' if dataset.count == 1 else f'three numbers from 1 to {dataset.count}'
            raise UserError(
                f'{path} has {_count(dataset.count)}, so --bands {_joined(bands)} cannot be red, green and '
                f'blue: give {numbers}'
            )
        return tuple(bands)
    if ColorInterp.palette in dataset.colorinterp:
        raise UserError(f'{path} has a colour table: expand it (gdal_translate -expand rgb)')
    if said := _said(dataset):
        return said
    if len(colours) == 3:
        return tuple(colours)
    example = '3,2,1' if len(colours) > 2 else '1,1,1'
    raise UserError(
        f'{path} has {_count(len(colours))} and does not say which are red, green and blue: name them, as --bands '
        f'{example}'
    )


def _said(dataset: Any) -> tuple[int, ...] | None:
    """The bands that a file calls red, green and blue."""
    kinds = dataset.colorinterp
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    return (
        tuple(kinds.index(kind) + 1 for kind in rgb) if all(kinds.count(kind) == 1 for kind in rgb) else None
    )


def _joined(bands: Sequence[int]) -> str:
    return ','.join(map(str, bands))


def _count(bands: int) -> str:
    return f'{bands} band{"s" if bands != 1 else ""}'


def _check_georeference(dataset: Any, path: Path) -> None:
    transform, crs = dataset.transform, dataset.crs
    if crs is None or transform.is_identity:
        missing = 'coordinate reference system' if crs is None else 'position and pixel size'
        raise UserError(
            f'{path} has no {missing}: georeference it (gdal_edit -a_srs EPSG:... -a_ullr left top right bottom, or '
            'gdalwarp where it has control points)'
        )
    if not np.isfinite(transform[:6]).all() or transform.determinant == 0:
        raise UserError(f'the position and pixel size of {path} are no numbers to work with: set them again')
    left, bottom, right, top = dataset.bounds
    lowest, highest = min(bottom, top), max(bottom, top)
    if crs.is_geographic and not (-541 < left < right < 541 and -91 < lowest < highest < 91):
        raise UserError(
            f'{path} says {crs.to_string()}, but its coordinates ({left:.6g}, {top:.6g}) are no degrees: assign the '
            'right reference system (gdal_edit -a_srs EPSG:...)'
        )
