"""Headers of rasters, and checks that they can be the dates of a scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine

from hsonet_mm.errors import UserError
from hsonet_mm.files import no_permission
from hsonet_mm.geo.places import RasterPath
from hsonet_mm.images import Reading
from hsonet_mm.images.gdal import (
    GDAL_ERRORS,
    colour_table,
    find_alpha,
    header_of,
    open_dataset,
    reason,
    require_one_raster,
)
from hsonet_mm.images.raster import Bounds, bands_text, bounds_of, check_nodata, choose_bands
from hsonet_mm.texts import counted

__all__ = [
    'RasterInfo',
    'check_place',
    'file_state',
    'file_states',
    'open_raster',
    'read_dates',
    'read_info',
]


@dataclass(frozen=True)
class RasterInfo:
    """Header of a raster.

    Attributes:
        bands: The bands to read, from 1.
        said: Those that the file itself calls so; None where it does not.
        colours: Number of bands but the alpha band.
        alpha: The band that says what is transparent, None without one.
        nodata: Declared value of each band read, or None.
        repeated: Whether one band stands for red, green and blue.
        palette: Colours of the values, (values, 4) with alpha, of a file with a colour table.
        notes: Sentences about what a user may not expect.
        files: The file and those that belong to it, such as the sources of a VRT; not the statistics beside it, which
            every viewer writes.
    """

    path: RasterPath
    crs: CRS
    transform: Affine
    width: int
    height: int
    bands: tuple[int, ...]
    said: tuple[int, ...] | None
    dtype: str
    colours: int
    alpha: int | None
    nodata: tuple[float | None, ...]
    repeated: bool
    palette: NDArray[np.uint8] | None
    notes: tuple[str, ...]
    files: tuple[Path, ...]
    state: tuple[tuple[int, int], ...]

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right and top of all corners in coordinates."""
        return bounds_of(self.transform, self.height, self.width)


def file_state(path: Path) -> tuple[int, int]:
    """Size and modification time of a file."""
    try:
        state = path.stat()
    except PermissionError:
        raise no_permission('read', path) from None
    except (OSError, ValueError):
        raise UserError(f'{path} does not exist: give a georeferenced raster such as a GeoTIFF') from None
    return state.st_size, state.st_mtime_ns


def file_states(files: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    """The state of each file, see :func:`file_state`."""
    return tuple(file_state(file) for file in files)


def check_place(path: RasterPath) -> None:
    """Check that a raster file exists; names that GDAL resolves are left to GDAL."""
    if isinstance(path, Path):
        file_state(path)
        if path.is_dir():
            raise UserError(f'{path} is a folder: give a raster, or folders for both dates')
        if not path.is_file():
            raise UserError(f'{path} is a pipe or a device: give the name of a raster')
        try:
            path.open('rb').close()
        except PermissionError:
            raise no_permission('read', path) from None


def read_info(path: RasterPath, reading: Reading | None = None) -> RasterInfo:
    """Read and check the header of a raster."""
    reading = reading or Reading()
    check_place(path)
    with open_raster(path) as dataset:
        require_one_raster(dataset, path)
        header = header_of(dataset, str(path))
        chosen = choose_bands(header, reading.bands)
        _check_georeference(dataset, path)
        try:
            alpha, notes = find_alpha(dataset, header, reading.bands)
        except (*GDAL_ERRORS, OSError) as error:
            raise UserError(
                f'{path} cannot be read, it is truncated or damaged ({reason(error)}): copy it again'
            ) from None
        nodata = tuple(header.nodata[band - 1] for band in chosen)
        check_nodata(str(path), reading.nodata, np.dtype(header.dtypes[chosen[0] - 1]))
        if reading.nodata is not None:
            nodata = (reading.nodata,) * len(chosen)
        files = _files(dataset, path)
        return RasterInfo(
            path,
            dataset.crs,
            dataset.transform,
            dataset.width,
            dataset.height,
            chosen,
            header.rgb,
            header.dtypes[chosen[0] - 1],
            header.shown,
            alpha,
            nodata,
            reading.bands is None and len(chosen) == 1,
            colour_table(dataset, chosen),
            notes,
            files,
            file_states(files),
        )


def read_dates(
    before: RasterPath, after: RasterPath, reading: Reading | None = None
) -> tuple[RasterInfo, RasterInfo]:
    """Read and check the headers of both dates of a scene."""
    reading = reading or Reading()
    dates = read_info(before, reading.of_date(0)), read_info(after, reading.of_date(1))
    t1, t2 = dates
    if reading.bands is None and t1.colours != t2.colours and t1.bands != t2.bands:
        raise UserError(
            f'{before} has {counted(t1.colours, "band")} and {after} {t2.colours}: name those of both dates with '
            '--bands, as 1,2,3/3,2,1'
        )
    for one in dates:
        contradicts = one.said not in (None, one.bands) and len(one.bands) == 3
        if reading.bands_after is None and t1.said != t2.said and contradicts:
            raise UserError(
                f'{one.path} declares {bands_text(one.said or ())} as its red, green and blue bands, and the other '
                'date does not: name those of both with --bands, as '
                f'{bands_text(t1.said or t1.bands)}/{bands_text(t2.said or t2.bands)}'
            )
    return dates


def open_raster(path: RasterPath) -> Any:
    """Open a raster with rasterio."""
    try:
        return open_dataset(path if isinstance(path, Path) else str(path))
    except UserError:
        raise
    except (*GDAL_ERRORS, ValueError, TypeError) as error:
        if not isinstance(path, Path):
            raise UserError(
                f'{path} cannot be opened ({reason(error)}): check the name, that it can be reached from here, and the '
                'credentials that GDAL needs for it (AWS_NO_SIGN_REQUEST=YES for public buckets)'
            ) from None
        raise UserError(
            f'{path} cannot be read as a raster, it is damaged or of another format ({reason(error)}): '
            'copy it again or convert it to GeoTIFF'
        ) from None


def _files(dataset: Any, path: RasterPath) -> tuple[Path, ...]:
    """The file and its companions on the disk that GDAL reads, without statistics; none for a raster on a server."""
    if not isinstance(path, Path):
        return (path.archive,) if path.archive else ()
    others = (Path(name) for name in dataset.files if not name.endswith('.aux.xml'))
    return path, *(other for other in others if other != path and other.is_file())


def _check_georeference(dataset: Any, path: RasterPath) -> None:
    transform, crs = dataset.transform, dataset.crs
    if (crs is None or transform.is_identity) and dataset.gcps[0]:
        raise UserError(f'{path} is referenced by control points: warp it (gdalwarp {path} out.tif)')
    if crs is None or transform.is_identity:
        missing = 'coordinate reference system' if crs is None else 'position and pixel size'
        raise UserError(
            f'{path} has no {missing}: georeference it (gdal_edit -a_srs EPSG:... -a_ullr left top right bottom)'
        )
    if not np.isfinite(transform[:6]).all() or transform.determinant == 0:
        raise UserError(
            f'{path} has an invalid position or pixel size: set them (gdal_edit -a_ullr left top right bottom)'
        )
    left, bottom, right, top = dataset.bounds
    (west, east), (south, north) = sorted((left, right)), sorted((bottom, top))  # a raster may be mirrored
    if crs.is_geographic and not (-541 < west < east < 541 and -91 < south < north < 91):
        raise UserError(
            f'{path} declares {crs.to_string()}, but its coordinates ({left:.9g}, {top:.9g}) are not degrees: assign '
            'the right reference system (gdal_edit -a_srs EPSG:...)'
        )
