"""Images as network input: the declared bands in 8 bits, and where they have data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.images.files import read_raster
from hsonet_mm.images.options import DEFAULT_STRETCH, Reading, Stretch, apply_stretch
from hsonet_mm.images.raster import Note, Raster

__all__ = [
    'Pixels',
    'colours',
    'edge_of',
    'edge_text',
    'effective_stretch',
    'first_three',
    'read_pixels',
    'size',
    'stretch_note',
    'to_bgr',
]

_EDGE = 0.05
"""Share of an image's outer edge that is black or white from which on a user is warned [choice]."""


@dataclass(frozen=True)
class Pixels:
    """An image as network input.

    Attributes:
        values: (H, W, bands) of 8 bits, in the order declared; red, green and blue unless others are declared.
        valid: Where there is data, (H, W); None means everywhere. What is elsewhere in ``values`` means nothing.
        stretch: What became 0 and 255; None for 8 bits as they are.
        raster: The file's own values.
    """

    path: str
    values: NDArray[np.uint8]
    valid: NDArray[np.bool_] | None
    stretch: Stretch | None
    raster: Raster


def read_pixels(
    path: str,
    reading: Reading | None = None,
    read: Callable[[str], bytes] | None = None,
    name: str | None = None,
) -> Pixels:
    """Read an image with any number of bands and any real data type."""
    reading = reading or Reading()
    raster = read_raster(path, read, reading.bands, name=name)
    valid = raster.valid(reading.nodata)
    values = colours(raster.values, raster.palette)
    stretch = effective_stretch(reading.stretch, values.dtype)
    if stretch is not None and stretch.percent:
        known = values if valid is None else values[valid]
        stretch = stretch.resolve(known) if known.size else Stretch(0, 1)
    values = apply_stretch(values, stretch)
    if reading.bands is None and values.shape[2] == 1:
        values = np.repeat(values, 3, axis=2)
    return Pixels(name or path, values, valid, stretch, raster)


def colours(values: NDArray, palette: NDArray[np.uint8] | None) -> NDArray:
    """Values (H, W, bands) with a palette applied; of one bit, 0 and 255."""
    if palette is not None:
        return palette[values[..., 0]]
    return values.astype(np.uint8) * np.uint8(255) if values.dtype == bool else values


def effective_stretch(declared: Stretch | None, dtype: np.dtype) -> Stretch | None:
    """The declared stretch; undeclared, none for 8 bits and percentiles for all else."""
    return declared or (None if dtype == np.uint8 else DEFAULT_STRETCH)


def stretch_note(date: Pixels, reading: Reading) -> Note | None:
    """A note if every file is scaled by its own percentiles, because no stretch is declared."""
    if date.stretch is None or reading.stretch is not None:
        return None
    return Note(
        'stretch',
        f'{date.path} has {date.raster.values.dtype} values, scaled from the {DEFAULT_STRETCH} percentiles of each '
        'file to 0 to 255: declare one range for all with --stretch LOW,HIGH',
    )


def edge_text(path: str, edge: NDArray, valid: NDArray[np.bool_]) -> str | None:
    """Warn about black or white in the outermost pixels (N, bands) of an image that are valid, not declared nodata."""
    whole = edge.dtype.kind in 'ui'
    for name, value in (('black', 0), *((('white', int(np.iinfo(edge.dtype).max)),) if whole else ())):
        share = ((edge == value).all(axis=1) & valid).mean()
        if share >= _EDGE:
            return (
                f'{share:.0%} of the border of {path} is {name} ({value}) and not declared as nodata, so it counts as '
                f'ground: declare it by --nodata {value}, if it is nodata'
            )
    return None


def edge_of(array: NDArray) -> NDArray:
    """The outermost pixels of an array (H, W, ...), as (N, ...)."""
    return np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])


def size(image: NDArray) -> str:
    """Width and height of an image for a message."""
    return f'{image.shape[1]} x {image.shape[0]}'


def to_bgr(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert an RGB image, (H, W, 3), to BGR, the order of OpenCV and MMEngine; any other number of bands is kept."""
    import cv2

    ordered: Any = cv2.cvtColor(values, cv2.COLOR_RGB2BGR) if values.shape[2] == 3 else values
    return np.ascontiguousarray(ordered)


def first_three(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Three bands for display of an image with any number of bands: the first three, or the first one as grey."""
    return (
        np.ascontiguousarray(values[..., :3])
        if values.shape[2] >= 3
        else np.repeat(values[..., :1], 3, axis=2)
    )
