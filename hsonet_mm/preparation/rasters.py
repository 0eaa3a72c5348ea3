"""Read the images and masks that users have, from folders and archives, as training reads them, but of any size."""

import hashlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from hsonet_mm.images import decode, read_rgb
from hsonet_mm.labels import find_changed, label_values

__all__ = [
    'Label',
    'decode_label',
    'decode_rgb',
    'large_images',
    'rank',
    'track',
]

_MAX_PIXELS = 2**30
_T = TypeVar('_T')


@dataclass(frozen=True)
class Label:
    """A change mask and how it was coded.

    Args:
        mask: true where something changed, shape (H, W), bool.
        coding: as :func:`hsonet_mm.labels.find_changed` tells it, or ``'listed'`` (the caller named the values).
        bands: number of bands in the file.
    """

    mask: np.ndarray
    coding: str
    bands: int


def decode_rgb(data: bytes, name: str) -> np.ndarray:
    """Decode one date; the rules are those of :func:`hsonet_mm.images.read_rgb`.

    Args:
        data: the encoded file.
        name: how messages call the file.

    Returns:
        RGB image of shape (H, W, 3), uint8.

    Raises:
        UserError: when the file is unreadable or truncated, not 8-bit, or has another number of bands than 1
            or 3.
    """
    return np.array(read_rgb(name, lambda _: data))


def decode_label(
    data: bytes, name: str, changed_values: Sequence[int] = (), ignore_value: int | None = None
) -> Label:
    """Decode one change mask; the rules are those of training, :mod:`hsonet_mm.labels`.

    Args:
        data: the encoded file.
        name: how messages call the file.
        changed_values: the values that mean "changed", all others "unchanged"; empty: find out.
        ignore_value: the value that means "not labelled", which is not changed here; None if there is none.

    Returns:
        The mask and its coding.

    Raises:
        UserError: when the file is unreadable, a colour picture, or its values are neither of the codings.
    """
    image = decode(name, lambda _: data)
    values, bands = label_values(image, name), len(image.getbands())
    if changed_values:
        return Label(np.isin(values, changed_values), 'listed', bands)
    cure = (
        'name the values that mean changed by --changed-values of prepare, which takes all others for unchanged, '
        'or the one that means "not labelled" by --ignore-value of check'
    )
    valid = None if ignore_value is None else values != ignore_value
    changed, coding = find_changed(values, image.format == 'JPEG', name, cure, valid)
    return Label(changed if valid is None else changed & valid, coding, bands)


@contextmanager
def large_images() -> Iterator[None]:
    """Let Pillow open rasters of up to 2^30 pixels: its own limit is a guard for web servers."""
    previous, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, _MAX_PIXELS // 2  # it raises above twice this
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = previous


def rank(seed: int, name: str) -> str:
    """A key that sorts names in an order which is random, but fixed by the seed and the name alone."""
    return hashlib.sha256(f'{seed}/{name}'.encode()).hexdigest()


def track(items: Sequence[_T] | Iterable[_T], text: str, total: int) -> Iterable[_T]:
    """Iterate with a progress bar on the terminal; without one when the output goes to a file."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track as rich_track

    return rich_track(items, text, total=total, console=Console(stderr=True), transient=True)
