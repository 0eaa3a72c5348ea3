"""Read the images and masks that users have, from folders and archives, as training reads them, but of any size."""

import hashlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from PIL import Image

from hsonet_mm.images import read_rgb

__all__ = [
    'decode_rgb',
    'large_images',
    'rank',
    'track',
]

_MAX_PIXELS = 2**30
_T = TypeVar('_T')


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
    return hashlib.sha256(f'{seed}/{name}'.encode(errors='surrogateescape')).hexdigest()


def track(items: Sequence[_T] | Iterable[_T], text: str, total: int) -> Iterable[_T]:
    """Iterate with a progress bar on the terminal; without one when the output goes to a file."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track as rich_track

    return rich_track(items, text, total=total, console=Console(stderr=True), transient=True)
