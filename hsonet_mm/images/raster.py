"""Pixels as stored in a file, and the rules shared by both decoders and the windows of scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError

__all__ = [
    'MAX_PIXELS',
    'Bounds',
    'Header',
    'Note',
    'Place',
    'Raster',
    'alpha_is_mask',
    'bands_text',
    'bounds_of',
    'check_nodata',
    'check_pixels',
    'choose_bands',
    'coordinates',
    'fits',
    'valid_pixels',
]

Bounds = tuple[float, float, float, float]
"""Left, bottom, right and top."""

MAX_PIXELS = 2**30
"""Most pixels of an image that is read as a whole [choice]."""

_BETWEEN = 0.01
"""Largest share of an alpha band between transparent and opaque, as soft edges have it [choice]."""


class Note(NamedTuple):
    """A sentence for the user about files that can be read: of kind ``alpha``, ``bands``, ``border`` ..."""

    kind: str
    text: str


@dataclass(frozen=True)
class Place:
    """Georeference of a file, as of rasterio."""

    crs: Any
    transform: Any


@dataclass(frozen=True)
class Header:
    """What a file declares about its bands, numbered from 1.

    Attributes:
        kinds: What each band shows, in GDAL's words: ``'red'``, ``'gray'``, ``'palette'``, ``'alpha'``,
            ``'undefined'`` ...
        nodata: Declared value of each band that means "no data", or None.
        true_alpha: Whether alpha can only be transparency; GDAL flags any fourth band of a TIFF so.
    """

    path: str
    dtypes: tuple[str, ...]
    kinds: tuple[str, ...]
    nodata: tuple[float | None, ...]
    true_alpha: bool = False

    @property
    def alpha(self) -> int | None:
        """Number of the alpha band."""
        return self.kinds.index('alpha') + 1 if 'alpha' in self.kinds else None

    @property
    def colours(self) -> tuple[int, ...]:
        """All bands but the alpha band."""
        return tuple(number for number, kind in enumerate(self.kinds, 1) if kind != 'alpha')

    @property
    def shown(self) -> int:
        """Number of bands of colour that it shows: a palette stands for red, green and blue."""
        return 3 if 'palette' in self.kinds else len(self.colours)

    @property
    def rgb(self) -> tuple[int, ...] | None:
        """The bands that the file declares as red, green and blue."""
        names = ('red', 'green', 'blue')
        once = all(self.kinds.count(name) == 1 for name in names)
        return tuple(self.kinds.index(name) + 1 for name in names) if once else None


@dataclass(frozen=True)
class Raster:
    """Some bands of a file as stored, but rotated by its orientation.

    Attributes:
        values: (H, W, bands), of the type in the file.
        mask: False where alpha or a mask in the file says "no data", (H, W); None where nothing says so.
        lossy: Whether values are never exact, as in a JPEG.
        notes: Sentences about what a user may not expect.
    """

    header: Header
    bands: tuple[int, ...]
    values: NDArray[Any]
    mask: NDArray[np.bool_] | None = None
    palette: NDArray[np.uint8] | None = None
    lossy: bool = False
    place: Place | None = None
    notes: tuple[str, ...] = ()

    def valid(self, nodata: float | None = None) -> NDArray[np.bool_] | None:
        """Where there is data, (H, W), also by a value that means "no data"; None means everywhere."""
        declared = [self.header.nodata[band - 1] for band in self.bands]
        valid = valid_pixels(self.values, declared, self.mask)
        return valid if nodata is None else valid_pixels(self.values, [nodata] * len(self.bands), valid)


def coordinates(
    transform: Any, columns: NDArray[Any], rows: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates of places in a raster, counted in pixels from the outer corner of its first one; or of any points."""
    a, b, c, d, e, f = transform[:6]
    return a * columns + b * rows + c, d * columns + e * rows + f


def bounds_of(transform: Any, height: int, width: int) -> Bounds:
    """Bounds of all corners of a raster."""
    columns, rows = np.array([(0, 0), (0, height), (width, 0), (width, height)]).T
    xs, ys = coordinates(transform, columns, rows)
    return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())


def check_pixels(name: str, width: int, height: int) -> None:
    """Raise an error for an image of more than :data:`MAX_PIXELS` pixels."""
    if width * height > MAX_PIXELS:
        raise UserError(f'{name} has more than {MAX_PIXELS} pixels: cut it into parts first')


def choose_bands(header: Header, bands: Sequence[int] | None) -> tuple[int, ...]:
    """The bands to read of a file.

    Undeclared, they are those that the file calls red, green and blue, or all three, or the only one.

    Raises:
        UserError: if it is not clear which, the file has them not, or they are of several types or of complex numbers.
    """
    count, path = len(header.kinds), header.path
    holds = (
        f'{path} has {count} band{"s" if count != 1 else ""} of {" and ".join(sorted(set(header.dtypes)))}'
    )
    if bands is not None:
        if max(bands) > count:
            numbers = '1,1,1' if count == 1 else f'numbers from 1 to {count}'
            raise UserError(f'{holds}, so --bands {bands_text(bands)} cannot be read: give {numbers}')
        chosen = tuple(bands)
    else:
        colours = header.colours
        chosen = header.rgb or (colours if len(colours) in (1, 3) else ())
        if not chosen:
            example = '3,2,1' if count > 2 else '1,1,1'
            raise UserError(
                f'{holds} and does not declare which are red, green and blue: name them, as --bands {example}'
            )
    types = {header.dtypes[band - 1] for band in chosen}
    if len(types) > 1 or np.dtype(min(types)).kind not in 'uifb':
        raise UserError(
            f'{path} has {" and ".join(sorted(types))} values in bands {bands_text(chosen)}: convert them to '
            'real numbers of one type (gdal_translate -ot Float32)'
        )
    return chosen


def bands_text(bands: Sequence[int]) -> str:
    """Numbers of bands as ``--bands`` takes them."""
    return ','.join(map(str, bands))


def alpha_is_mask(
    alpha: NDArray[Any], header: Header, bands: Sequence[int] | None
) -> tuple[bool, tuple[str, ...]]:
    """Whether an alpha band is a mask of transparency, rather than a mislabelled colour such as near infrared.

    GDAL and many tools flag the fourth band of any RGB TIFF as alpha. A mask is nearly always 0 or full; a band that is
    not, is read as a band, so that dark water in it does not become "no data" [choice]. So is one that the user names,
    and where bands are named, one that is 0 everywhere. Returns a sentence as well where a user may not expect it.
    """
    if header.true_alpha:
        return True, ()
    if bands is not None and header.alpha in bands:
        return False, ()
    full = alpha.max(initial=0)
    if ((alpha > 0) & (alpha < full)).sum() <= _BETWEEN * alpha.size:
        return bool(full > 0 or bands is None), ()
    if bands is not None:
        return False, ()
    return False, (
        f'band {header.alpha} of {header.path} is flagged as alpha but is not a mask, so it hides no pixel: name the '
        f'bands to read, as --bands {bands_text(header.rgb or header.colours)}, or with {header.alpha} among them',
    )


def valid_pixels(
    values: NDArray[Any], nodata: Sequence[float | None], mask: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Valid pixels: not masked, finite in all bands, and different from the nodata value in at least one.

    ``nodata`` is of each band; the mask is False where there is no data. (H, W), or None where all have.
    """
    valid = mask
    if values.dtype.kind == 'f':
        finite = np.isfinite(values).all(axis=2)
        valid = finite if valid is None else valid & finite
    kind = values.dtype.type
    declared = [one for one in nodata if one is not None and fits(one, values.dtype) and not np.isnan(one)]
    if declared and len(declared) == len(nodata):  # NaN is not finite, so found above
        full = np.logical_or.reduce([values[..., band] != kind(one) for band, one in enumerate(declared)])
        valid = full if valid is None else valid & full
    return None if valid is None or valid.all() else valid


def check_nodata(path: str, nodata: float | None, dtype: np.dtype[Any]) -> None:
    """Raise an error for a declared nodata value that no pixel of a file can have; NaN is allowed everywhere."""
    if nodata is None or dtype.kind not in 'iu' or np.isnan(nodata) or fits(nodata, dtype):
        return
    limits = np.iinfo(dtype)
    raise UserError(
        f'invalid --nodata {nodata:g}: expected a whole number from {limits.min} to {limits.max}, as {path} has '
        f'{dtype.name} values'
    )


def fits(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a data type can represent a value, such as the declared nodata value."""
    if dtype.kind == 'f':
        return True
    if dtype.kind == 'b':
        return value in (0, 1)
    limits = np.iinfo(dtype)
    return bool(np.isfinite(value)) and value == int(value) and bool(limits.min <= value <= limits.max)
