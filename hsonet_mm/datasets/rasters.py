"""Read the images and masks that users have: 8-bit png, jpg or tif, with every doubt told in one sentence.

Pillow decodes, because it refuses truncated files that OpenCV silently fills up. What Pillow hides (16-bit
png and tif cut down to 8 bits, additional bands dropped) is read from the headers.
"""

import hashlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from hsonet_mm.errors import UserError

__all__ = [
    'IMAGE_SUFFIXES',
    'Label',
    'large_images',
    'rank',
    'read_image',
    'read_label',
    'track',
]

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff')

_MAX_PIXELS = 2**30
_TIFF_BITS, _TIFF_BANDS = 258, 277
_T = TypeVar('_T')


@dataclass(frozen=True)
class Label:
    """A change mask and how it was coded.

    Args:
        mask: true where something changed, shape (H, W), bool.
        coding: ``'empty'`` (all 0), ``'0/1'``, ``'0/255'``, ``'noisy'`` (values near 0 and 255, as JPEG
            leaves them) or ``'listed'`` (the caller named the values).
        bands: number of bands in the file.
    """

    mask: np.ndarray
    coding: str
    bands: int


def read_image(data: bytes, name: str) -> np.ndarray:
    """Decode one date.

    Args:
        data: the encoded file.
        name: how messages call the file.

    Returns:
        RGB image of shape (H, W, 3), uint8; a single grey band is repeated, an alpha band that is
        opaque everywhere is dropped.

    Raises:
        UserError: when the file is unreadable or truncated, not 8-bit, or has another number of bands than 1
            or 3.
    """
    image = _decode(data, name)
    if image.mode == 'RGBA' and image.getchannel('A').getextrema() == (255, 255):
        image = image.convert('RGB')
    if len(image.getbands()) not in (1, 3):
        raise UserError(
            f'{name}: has {len(image.getbands())} bands ({image.mode}), the networks take 3: save '
            'red, green and blue only'
        )
    return np.array(image if image.mode == 'RGB' else image.convert('RGB'))


def read_label(data: bytes, name: str, changed_values: Sequence[int] = ()) -> Label:
    """Decode one change mask, whatever way it is coded.

    Masks of 0 and 1, of 0 and 255, and masks near 0 and 255 (a JPEG went over them) are told apart by their
    values.

    Args:
        data: the encoded file.
        name: how messages call the file.
        changed_values: the values that mean "changed"; empty: find out.

    Returns:
        The mask and its coding.

    Raises:
        UserError: when the file is unreadable, a colour picture, or its values are neither of the codings.
    """
    image = _decode(data, name)
    values = _grey_values(image, name)
    bands = len(image.getbands())
    if changed_values:
        return Label(np.isin(values, changed_values), 'listed', bands)
    strips = np.array_split(values, 1 + values.size // 2**24)  # bincount copies to 8 bytes a value
    counts = np.sum([np.bincount(strip.ravel(), minlength=256) for strip in strips], axis=0)
    top = int(np.flatnonzero(counts)[-1])
    if top <= 1 and image.format != 'JPEG':
        return Label(values > 0, '0/1' if top else 'empty', bands)
    middle = counts[64:192].sum() / values.size
    # Below 64 everywhere: the faint traces of a neighbour's edge in a lossy mask, unless there is much of it.
    classes = top < 64 and counts[1:].sum() > 0.01 * values.size and image.format != 'JPEG'
    if classes or middle > 0.05:
        seen = ', '.join(map(str, np.argsort(-counts, kind='stable')[: min(5, np.count_nonzero(counts))]))
        raise UserError(
            f'{name}: a change mask holds 0 and 1 or 0 and 255, this one mostly {seen}: save it '
            'as 0/255 without interpolation, or name the values that mean changed by --changed-values of '
            'prepare'
        )
    if image.format != 'JPEG' and set(np.flatnonzero(counts)) == {0, 1, 255}:
        raise UserError(
            f'{name}: holds 0, 1 and 255, so it is unclear what changed: save it with two '
            'values, or name the one that means changed by --changed-values of prepare'
        )
    coding = '0/255' if counts[[0, 255]].sum() == values.size else 'noisy'
    return Label(values >= 128, coding if top else 'empty', bands)


def _decode(data: bytes, name: str) -> Image.Image:
    """Decode a file completely and refuse what is not 8-bit."""
    try:
        image = Image.open(BytesIO(data))
        bits, bands = _depth(image, data)
        if bits <= 8:
            image.load()
    except UnidentifiedImageError:
        raise UserError(
            f'{name}: cannot be read: the file is damaged, or its pixels are not 8-bit with 1 or 3 '
            'bands; copy it again or convert it (gdal_translate -ot Byte -scale -b 1 -b 2 -b 3)'
        ) from None
    except Image.DecompressionBombError:
        raise UserError(
            f'{name}: has more than {_MAX_PIXELS} pixels: cut the raster into parts first'
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise UserError(
            f'{name}: cannot be read, the file is truncated or damaged ({error}): copy it again'
        ) from None
    if bits > 8:
        raise UserError(
            f'{name}: has {bits} bits a band, the networks take 8: rescale it '
            '(gdal_translate -ot Byte -scale)'
        )
    if bands > len(image.getbands()):
        raise UserError(f'{name}: has {bands} bands, the networks take 3: save red, green and blue only')
    return image


def _depth(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Bits a band and number of bands as the file's header states them."""
    if image.format == 'PNG':
        return data[24], len(image.getbands())
    tags = getattr(image, 'tag_v2', {})
    bits = max(np.atleast_1d(tags.get(_TIFF_BITS, 8)))
    return int(bits), int(tags.get(_TIFF_BANDS, len(image.getbands())))


def _grey_values(image: Image.Image, name: str) -> np.ndarray:
    """One value a pixel, (H, W) uint8, from a grey, palette or grey-looking colour image."""
    if image.mode in ('1', 'L'):
        return np.array(image.convert('L'))
    colours = np.array(image.convert('RGB'))
    spread = colours.max(-1) - colours.min(-1)
    if np.count_nonzero(spread > 40) <= 0.005 * spread.size:
        return colours[..., 1]
    if image.mode == 'P' and np.asarray(image).max() <= 1:
        return np.asarray(image)
    raise UserError(f'{name}: is a colour picture, not a change mask: save one band with 0 and 255')


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
