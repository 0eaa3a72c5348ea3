"""Reading files with rasterio (GDAL), which is imported where needed because that takes half a second."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from hsonet_mm.errors import UserError
from hsonet_mm.images.raster import Header, Place, Raster, alpha_is_mask, check_pixels, choose_bands
from hsonet_mm.texts import require_utf8

__all__ = [
    'GDAL_ERRORS',
    'bands_last',
    'colour_table',
    'encode_tiff',
    'find_alpha',
    'header_of',
    'open_dataset',
    'read_mask',
    'read_raster',
    'reason',
    'require_one_raster',
    'without_alpha',
]

GDAL_ERRORS = (RasterioError, CPLE_BaseError, CRSError)
"""What rasterio raises for what GDAL reports; some of it comes through as it is."""

logging.getLogger('rasterio').addHandler(logging.NullHandler())  # what GDAL says is in our sentences

_FILTERS = Lock()
_SAMPLE = 1024
"""Largest height and width that a decision about a whole file reads at once."""


def open_dataset(source: Any) -> Any:
    """Open a raster with rasterio, without its warning about a missing georeference."""
    require_utf8(source)
    with _without_warning():
        return rasterio.open(source)


@contextmanager
def _without_warning() -> Iterator[None]:
    """Ignore that a raster has no georeference: one thread at a time, since filters belong to the whole process."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        yield


def reason(error: BaseException) -> str:
    """The first line of GDAL's message, without the name of the file."""
    cause = error.__cause__ or error
    return (
        str(cause).strip().splitlines()[0].rstrip('.')[:160] if str(cause).strip() else type(cause).__name__
    )


def require_one_raster(dataset: Any, name: object) -> None:
    """Raise an error for a file of several rasters, such as a TIFF whose pages are bands."""
    if dataset.count and dataset.width and dataset.height and not dataset.subdatasets:
        return
    several = f'{len(dataset.subdatasets)} rasters' if dataset.subdatasets else 'several rasters'
    raise UserError(
        f'{name} contains {several}, such as pages: extract one (gdalinfo lists their names; gdal_translate NAME '
        'out.tif), or where each is a band, write all bands as one raster (gdal_merge.py -separate)'
    )


def header_of(dataset: Any, path: str) -> Header:
    """Bands and their colour interpretation in a dataset."""
    return Header(
        path,
        tuple(dataset.dtypes),
        tuple(kind.name for kind in dataset.colorinterp),
        tuple(dataset.nodatavals),
        true_alpha=dataset.driver not in ('GTiff', 'COG', 'VRT'),
    )


def colour_table(dataset: Any, bands: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Colours of a palette band, (values, 4) with alpha, where that alone is read."""
    if len(bands) != 1 or dataset.colorinterp[bands[0] - 1].name != 'palette':
        return None
    table = np.zeros((256 if dataset.dtypes[bands[0] - 1] == 'uint8' else 65536, 4), np.uint8)
    for value, colour in dataset.colormap(bands[0]).items():
        table[value] = colour
    return table


def find_alpha(
    dataset: Any, header: Header, bands: tuple[int, ...] | None
) -> tuple[int | None, tuple[str, ...]]:
    """Number of the transparency band, given the bands that the user declares, and a note for the user."""
    if header.alpha is None:
        return None, ()
    is_mask, notes = alpha_is_mask(_sample(dataset, header.alpha), header, bands)
    return (header.alpha if is_mask else None), notes


def _sample(dataset: Any, band: int) -> NDArray[Any]:
    """All of a small band; of a large one, 64 places."""
    if max(dataset.shape) <= _SAMPLE:
        return np.asarray(dataset.read(band))
    size = _SAMPLE // 8
    rows, columns = (np.linspace(0, max(0, side - size), 8).astype(int) for side in dataset.shape)
    windows = [Window(left, top, size, size) for top in rows for left in columns]
    return np.concatenate([dataset.read(band, window=window).ravel() for window in windows])


def without_alpha(dataset: Any) -> Any:
    """The same raster with an alpha band of GDAL as an ordinary band."""
    with MemoryFile(ext='.vrt') as memory:
        rasterio.shutil.copy(dataset, memory.name, driver='VRT')
        text = bytes(memory.read()).decode()
    return open_dataset(
        text.replace('<ColorInterp>Alpha</ColorInterp>', '<ColorInterp>Undefined</ColorInterp>')
    )


def read_mask(dataset: Any, band: int, alpha: int | None, **where: Any) -> NDArray[np.bool_] | None:
    """Valid pixels by the alpha band or mask of the file, (H, W); None if it has neither."""
    if alpha is not None:
        return np.asarray(dataset.read(alpha, **where) > 0)
    flags = dataset.mask_flag_enums[band - 1]
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        return np.asarray(dataset.read_masks(band, **where) > 0)
    return None


def bands_last(values: NDArray[Any]) -> NDArray[Any]:
    """(bands, H, W) to (H, W, bands), band by band: ten times as fast as a transposed copy."""
    last = np.empty((*values.shape[1:], len(values)), values.dtype)
    for number, band in enumerate(values):
        last[..., number] = band
    return last


def encode_tiff(values: NDArray[np.uint8], valid: NDArray[np.bool_] | None) -> bytes:
    """A TIFF of any number of bands, (H, W, bands), with a mask of what has data, (H, W)."""
    height, width, count = values.shape
    profile = {'driver': 'GTiff', 'height': height, 'width': width, 'count': count, 'dtype': values.dtype}
    profile |= {'compress': 'deflate', 'photometric': 'MINISBLACK', 'alpha': 'NO'}
    with _without_warning(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.write(values.transpose(2, 0, 1))
            if valid is not None and not valid.all():
                dataset.write_mask(valid)
        return bytes(memory.read())


def read_raster(
    path: str, data: bytes | None, bands: tuple[int, ...] | None, every: bool, name: str
) -> Raster:
    """Read all bands except alpha, or those that the user declares."""
    try:
        if data is None:
            with open_dataset(path) as dataset:
                return _read(dataset, name, bands, every)
        with MemoryFile(data) as memory, open_dataset(memory.name) as dataset:
            return _read(dataset, name, bands, every)
    except UserError:
        raise
    except (*GDAL_ERRORS, OSError, ValueError, TypeError, MemoryError) as error:
        said = reason(error)
        if 'not recognized as being in a supported file format' in said or '/vsimem/' in said:
            said = 'it is damaged or of an unknown type'
        raise UserError(
            f'{name} cannot be read as an image ({said}): replace it by an intact image (png, jpg, bmp or GeoTIFF)'
        ) from None


def _read(dataset: Any, name: str, bands: tuple[int, ...] | None, every: bool) -> Raster:
    header = header_of(dataset, name)
    require_one_raster(dataset, name)
    check_pixels(name, dataset.width, dataset.height)
    chosen = (header.colours or (1,)) if every else choose_bands(header, bands)
    alpha, notes = find_alpha(dataset, header, chosen if bands is not None else None)
    values = bands_last(dataset.read(list(chosen)))
    mask = read_mask(dataset, chosen[0], alpha)
    table = colour_table(dataset, chosen)
    if table is not None and (table[..., 3] == 0).any():
        opaque = table[..., 3][values[..., 0]] > 0
        mask = opaque if mask is None else mask & opaque
    place = None
    if dataset.crs is not None and not dataset.transform.is_identity:
        place = Place(dataset.crs, dataset.transform)
    lossy = (
        str(dataset.profile.get('compress', '')).lower() in ('jpeg', 'ycbcr jpeg') or dataset.driver == 'JPEG'
    )
    return Raster(
        header,
        chosen,
        values,
        mask,
        None if table is None else table[:, :3],
        lossy,
        place,
        notes,
    )
