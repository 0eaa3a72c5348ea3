"""Checks that the files of a pair, or a label and its image, belong together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.images.options import Stretch
from hsonet_mm.images.pixels import Pixels, colours, edge_of, edge_text
from hsonet_mm.images.raster import Bounds, Note, Place, Raster, bounds_of, coordinates
from hsonet_mm.texts import counted

__all__ = [
    'ImagePair',
    'check_depths',
    'check_overlap',
    'join',
    'no_overlap',
    'notes_of',
    'pair_of',
    'place_note',
    'refuse_depths',
]

_TOLERANCE = 0.5
"""Pixels by which corners may differ [choice]: half a pixel is what a resampling leaves."""


@dataclass(frozen=True)
class ImagePair:
    """Both dates as network input.

    Attributes:
        t1: (H, W, bands) of 8 bits; 0 where either date has no data, so that nothing changes there.
        t2: The same of the second date.
        valid: Where both dates have data, (H, W); None means everywhere.
    """

    t1: NDArray[np.uint8]
    t2: NDArray[np.uint8]
    valid: NDArray[np.bool_] | None


def join(t1: Pixels, t2: Pixels, stretch: Stretch | None = None) -> ImagePair:
    """Combine two dates of equal size."""
    check_depths(t1, t2, stretch)
    return pair_of(t1.values, t2.values, t1.valid, t2.valid)


def pair_of(
    t1: NDArray[np.uint8],
    t2: NDArray[np.uint8],
    valid1: NDArray[np.bool_] | None,
    valid2: NDArray[np.bool_] | None,
) -> ImagePair:
    """Combine two images of equal size, given their valid pixels; None means all."""
    valid = valid1 if valid2 is None else valid2 if valid1 is None else valid1 & valid2
    if valid is None:
        return ImagePair(t1, t2, None)
    first, second = (np.where(valid[..., None], date, np.uint8(0)) for date in (t1, t2))
    return ImagePair(first, second, valid)


def check_depths(t1: Pixels, t2: Pixels, stretch: Stretch | None) -> None:
    """Raise an error for dates of different data types, unless percentiles scale each to 8 bits."""
    refuse_depths(t1.path, str(t1.raster.values.dtype), t2.path, str(t2.raster.values.dtype), stretch)


def refuse_depths(path1: str, type1: str, path2: str, type2: str, stretch: Stretch | None) -> None:
    """The rule of :func:`check_depths` for files and their types."""
    if type1 != type2 and not (stretch and stretch.percent):
        raise UserError(
            f'{path1} has {type1} and {path2} {type2} values: scale each date by its own percentiles with '
            '--stretch 2%,98%, or convert one to the type of the other'
        )


def notes_of(t1: Pixels, t2: Pixels, nodata_declared: bool) -> list[Note]:
    """Warnings about a pair that can be read."""
    notes = [Note('alpha', text) for text in (*t1.raster.notes, *t2.raster.notes)]
    for date in (t1, t2):
        values = colours(date.raster.values, date.raster.palette)
        valid = np.ones(values.shape[:2], bool) if date.valid is None else date.valid
        constant = (values == values[0, 0]).all()
        if (
            not nodata_declared
            and not constant
            and (text := edge_text(date.path, edge_of(values), edge_of(valid)))
        ):
            notes.append(Note('border', text))
    one, two = (date.raster.header.shown for date in (t1, t2))
    if one != two:
        text = f'{t1.path} has {counted(one, "band")} and {t2.path} {two}: check that the same ones are read'
        notes.append(Note('bands', text))
    if note := place_note(t1.raster, t2.raster):
        notes.append(note)
    return notes


def place_note(one: Raster, other: Raster) -> Note | None:
    """A note where the georeferences of two files that are compared pixel by pixel differ."""
    if one.place is None or other.place is None or one.values.shape[:2] != other.values.shape[:2]:
        return None
    height, width = one.values.shape[:2]
    corners = [(0, 0), (0, height), (width, 0), (width, height)]
    if _distance(one, other, corners) <= _TOLERANCE:
        return None
    return Note(
        'grid',
        f'{one.header.path} and {other.header.path} lie on different grids by their georeference, from '
        f'{_difference(one.place, other.place)}, and are compared pixel by pixel: give both dates to hsonet scene, '
        'which resamples them onto one grid, or warp one with gdalwarp',
    )


def _difference(one: Place, other: Place) -> str:
    """Where two images begin, and their offset in pixels if they differ in nothing else."""
    from affine import Affine

    starts = [f'({place.transform.c:.9g}, {place.transform.f:.9g})' for place in (one, other)]
    names = [place.crs.to_string()[:40] for place in (one, other)]
    if one.crs != other.crs:
        return f'{starts[0]} in {names[0]} and from {starts[1]} in {names[1]}'
    told = f'{starts[0]} and from {starts[1]} in {names[0]}'
    a, b, c, d, e, f = other.transform[:6]
    pixel = abs(one.transform.determinant) ** 0.5
    if not pixel or not one.transform.almost_equals(
        Affine(a, b, one.transform.c, d, e, one.transform.f), 1e-6 * pixel
    ):
        return told
    columns, rows = coordinates(~one.transform, np.float64(c), np.float64(f))
    offset = [f'{abs(round(float(number), 2)):g}' for number in (columns, rows)]
    return f'{told} (they differ by {offset[0]} columns, {offset[1]} rows)'


def check_overlap(one: Raster, other: Raster) -> None:
    """Raise an error for two georeferenced files of one reference system that do not overlap."""
    if one.place is None or other.place is None or one.place.crs != other.place.crs:
        return
    bounds1 = bounds_of(one.place.transform, *one.values.shape[:2])
    bounds2 = bounds_of(other.place.transform, *other.values.shape[:2])
    (west, south, east, north), (left, bottom, right, top) = bounds1, bounds2
    if one.place.crs.is_geographic:  # a longitude is the same place after a turn
        turns = 360 * round((west + east - left - right) / 720)
        left, right = left + turns, right + turns
    if max(west, left) >= min(east, right) or max(south, bottom) >= min(north, top):
        raise no_overlap(one.header.path, bounds1, other.header.path, bounds2, one.place.crs)


def no_overlap(path1: object, bounds1: Bounds, path2: object, bounds2: Bounds, crs: Any) -> UserError:
    """The error for two rasters that do not overlap; both bounds are coordinates of one reference system."""
    (west, south, east, north), (left, bottom, right, top) = bounds1, bounds2
    return UserError(
        f'{path1} and {path2} do not overlap: in {crs.to_string()[:40]} the one lies at ({west:.9g}, {south:.9g}) to '
        f'({east:.9g}, {north:.9g}), the other at ({left:.9g}, {bottom:.9g}) to ({right:.9g}, {top:.9g}); check that '
        'they show the same place'
    )


def _distance(one: Raster, other: Raster, corners: list[tuple[int, int]]) -> float:
    """Largest distance between corresponding corners of two files, in pixels of the second."""
    from affine import TransformNotInvertibleError
    from rasterio.warp import transform as transform_points

    from hsonet_mm.images.gdal import GDAL_ERRORS

    assert one.place is not None
    assert other.place is not None
    columns, rows = np.array(corners, float).T
    xs, ys = coordinates(one.place.transform, columns, rows)
    try:
        if one.place.crs != other.place.crs:
            xs, ys = map(np.array, transform_points(one.place.crs, other.place.crs, xs, ys)[:2])
        back = coordinates(~other.place.transform, xs, ys)
    except (*GDAL_ERRORS, ArithmeticError, TransformNotInvertibleError):
        return np.inf
    distance = np.abs(np.array(back) - [columns, rows]).max()
    return float(distance) if np.isfinite(distance) else np.inf
