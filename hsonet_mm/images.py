"""Reading 8-bit images from files, with a clear sentence for whatever is wrong; needs Pillow only."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hsonet_mm.errors import UserError

__all__ = ['IMAGE_SUFFIXES', 'decode', 'read_image', 'read_rgb', 'size']

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp')
"""The suffixes that count as an image when none is asked for, in small letters."""

_EIGHT_BIT_MODES = ('1', 'L', 'P', 'RGB', 'LA', 'PA', 'RGBA')
_TIFF_BANDS = 277


def _read_bytes(path: str) -> bytes:
    return Path(path).read_bytes()


def decode(path: str, read: Callable[[str], bytes] = _read_bytes) -> Image.Image:
    """Decode a file completely; unlike OpenCV, Pillow notices when a JPEG is cut off.

    Args:
        path: The file.
        read: How to get its content.

    Raises:
        UserError: if the file does not exist, is no image, is cut off, has colours of 16 bits or more bands than
            Pillow shows.
    """
    try:
        image = Image.open(io.BytesIO(read(path)))
        # Pillow reduces colours of 16 bits to 8 without a word; before loading, the raw mode still tells.
        reduced = image.mode in _EIGHT_BIT_MODES and any(';16' in str(tile[3]) for tile in image.tile)
        # Of a TIFF it drops the fourth band just as quietly.
        bands = getattr(image, 'tag_v2', {}).get(_TIFF_BANDS, 1)
        image.load()
    except FileNotFoundError:
        raise UserError(f'{path} does not exist: put it back or remove the other files of the pair') from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f'{path} has more than {limit} pixels: cut it into parts first') from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        unknown = isinstance(error, UnidentifiedImageError)  # whose text names an address in memory
        reason = 'it is damaged, or of a type that is not known' if unknown else error
        raise UserError(
            f'{path} cannot be read as an image ({reason}): replace it by an intact 8-bit image '
            f'(png, jpg, tif or bmp) with one or three bands'
        ) from None
    if reduced:
        raise _too_deep(path, '16 bits a band')
    if bands > len(image.getbands()):
        raise _too_deep(path, f'{bands} bands')
    return image


def _too_deep(path: str, what: str) -> UserError:
    """The complaint about a file with too many bands or bits."""
    return UserError(f'{path} has {what}: convert it to an 8-bit image with one or three bands')


def read_rgb(path: str, read: Callable[[str], bytes] = _read_bytes) -> Image.Image:
    """Read an image of one or three bands.

    Args:
        path: The file.
        read: How to get its content.

    Returns:
        Image of mode RGB; a grey image is repeated. An alpha band is dropped if it is opaque everywhere.

    Raises:
        UserError: if the file cannot be read, is cut off, has more than three bands or more than 8 bits a
            band.
    """
    image = decode(path, read)
    if image.mode not in _EIGHT_BIT_MODES:
        raise _too_deep(path, f'pixels of type {image.mode}')
    if image.mode.endswith('A') and image.getchannel('A').getextrema() != (255, 255):
        raise _too_deep(path, 'an extra band that is not opaque everywhere')
    return image if image.mode == 'RGB' else image.convert('RGB')


def read_image(path: str, read: Callable[[str], bytes] = _read_bytes) -> NDArray[np.uint8]:
    """Read an image of one or three bands as OpenCV has it: like :func:`read_rgb`, but blue, green, red (H, W, 3)."""
    red, green, blue = read_rgb(path, read).split()
    return np.array(Image.merge('RGB', (blue, green, red)))  # several times as fast as a turned copy in NumPy


def size(image: NDArray[np.uint8]) -> str:
    """Width and height of an image for a message."""
    return f'{image.shape[1]} x {image.shape[0]}'
