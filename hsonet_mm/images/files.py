"""Decoding of files, by Pillow or GDAL with the same rules."""

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hsonet_mm.errors import UserError
from hsonet_mm.files import no_permission
from hsonet_mm.images.raster import Header, Raster, check_pixels, choose_bands

__all__ = ['IMAGE_SUFFIXES', 'RASTER_SUFFIXES', 'image_size', 'read_raster']

RASTER_SUFFIXES = ('.tif', '.tiff', '.vrt', '.jp2', '.img')
"""The suffixes that count as a georeferenced raster, in small letters."""
IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.webp', *RASTER_SUFFIXES)
"""The suffixes that count as an image when none is asked for, in small letters."""

_FORMATS = ('PNG', 'JPEG', 'MPO', 'BMP', 'DIB', 'GIF', 'WEBP')
"""What Pillow reads as well as GDAL does, and faster; colours of 16 bits excepted."""
_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_KINDS = {
    'L': ('gray',),
    'I;16': ('gray',),
    'P': ('palette',),
    'RGB': ('red', 'green', 'blue'),
    'LA': ('gray', 'alpha'),
    'RGBA': ('red', 'green', 'blue', 'alpha'),
}
_ORIENTATION = 274
_OPENING = Lock()

Read = Callable[[str], bytes]


def read_raster(
    path: str,
    read: Read | None = None,
    bands: tuple[int, ...] | None = None,
    every: bool = False,
    name: str | None = None,
) -> Raster:
    """Read the pixels of a file as stored, rotated by its orientation (EXIF).

    Content comes by ``read`` where the file is not on the disk; ``every`` reads all bands but the alpha band, as for
    labels; ``name`` is what messages call the file.
    """
    name = name or path
    if read is None and Path(path).exists() and not Path(path).is_file():
        raise UserError(f'{name} is a folder, a pipe or a device, not an image file: replace it')
    try:
        data = read(path) if read is not None else None
        with io.BytesIO(data) if data is not None else Path(path).open('rb') as stream:
            if stream.read(4) not in _TIFF:
                stream.seek(0)
                raster = _by_pillow(name, stream, bands, every)
                if raster is not None:
                    return raster
    except FileNotFoundError:
        raise UserError(f'{name} does not exist: put it back or remove the other files of the pair') from None
    except PermissionError:
        raise no_permission('read', name) from None
    except UserError:
        raise
    except (
        *(OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error),
        Image.DecompressionBombError,  # a later frame of an animation
    ) as error:
        said = getattr(error, 'strerror', None) or error
        raise UserError(
            f'{name} cannot be read as an image ({said}): replace it by an intact image (png, jpg, bmp or GeoTIFF)'
        ) from None
    from hsonet_mm.images import gdal

    raster = gdal.read_raster(path, data, bands, every, name)
    return raster if raster.place is not None else _upright(raster, path, data)


def image_size(stream: IO[bytes]) -> tuple[int, int]:
    """Height and width of an image by its header, before any rotation; an error means that they are unknown."""
    with _open(stream) as image:
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


def _open(stream: IO[bytes]) -> Any:
    """Open an image without the limit of Pillow, which is meant for web servers and applies to the whole process."""
    with _OPENING:
        previous, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(stream)
        finally:
            Image.MAX_IMAGE_PIXELS = previous


def _by_pillow(path: str, stream: IO[bytes], bands: tuple[int, ...] | None, every: bool) -> Raster | None:
    """Read a file by Pillow, which unlike OpenCV detects truncated JPEGs; None leaves it to GDAL."""
    try:
        image = _open(stream)
    except UnidentifiedImageError:
        return None
    # Pillow reduces colours of 16 bits to 8 without a word; before loading, the raw mode still tells.
    if image.format not in _FORMATS or any(
        ';16' in str(tile[3]) for tile in image.tile if image.mode != 'I;16'
    ):
        return None
    if image.mode in ('I', 'I;16') and 'transparency' in image.info:
        return None  # only GDAL makes a mask of the transparent grey
    check_pixels(path, image.width, image.height)
    # The others in a JPEG (MPO) are views and thumbnails.
    if image.format != 'MPO' and getattr(image, 'n_frames', 1) > 1:
        raise UserError(
            f'{path} contains {image.n_frames} images, as in an animation: save one of them as a file'
        )
    lossy = image.format in ('JPEG', 'MPO')
    image.load()
    with suppress(Exception):  # whatever damaged EXIF leads the parser to, the image is intact
        ImageOps.exif_transpose(image, in_place=True)
    mask = None
    if 'transparency' in image.info and image.mode in ('1', 'L', 'P', 'RGB'):
        mask = np.asarray(image.convert('RGBA').getchannel('A')) > 0
    if image.mode == 'I':  # what some versions make of 16 bits
        image = image.convert('I;16')
    elif image.mode not in _KINDS:
        image = image.convert({'1': 'L', 'PA': 'RGBA', 'La': 'LA', 'RGBa': 'RGBA'}.get(image.mode, 'RGB'))
    kinds = _KINDS[image.mode]
    dtype = 'uint16' if image.mode == 'I;16' else 'uint8'
    header = Header(path, (dtype,) * len(kinds), kinds, (None,) * len(kinds), true_alpha=True)
    chosen = header.colours if every else choose_bands(header, bands)
    values: NDArray[Any] = np.asarray(image)
    values = values.reshape(*values.shape[:2], -1)
    if header.alpha is not None and header.alpha not in chosen:
        mask = values[..., header.alpha - 1] > 0
    palette = None
    if kinds == ('palette',):
        palette = np.zeros((256, 3), np.uint8)
        colours = np.array(image.getpalette('RGB'), np.uint8).reshape(-1, 3)
        palette[: len(colours)] = colours
    if chosen != tuple(range(1, len(kinds) + 1)):
        values = values[..., [band - 1 for band in chosen]]
    return Raster(header, chosen, values, mask, palette, lossy)


def _upright(raster: Raster, path: str, data: bytes | None) -> Raster:
    """Rotate the pixels of a TIFF by its orientation tag, which GDAL ignores; a georeference takes precedence."""
    with io.BytesIO(data) if data is not None else Path(path).open('rb') as stream:
        orientation = _tiff_orientation(stream)
    if orientation == 1:
        return raster
    mask = None if raster.mask is None else _turn(raster.mask, orientation)
    return replace(raster, values=_turn(raster.values, orientation), mask=mask)


def _turn(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Rotate an array (H, W, ...) upright, by the orientation numbers of TIFF and EXIF."""
    if orientation >= 5:  # rows are columns
        array = array.swapaxes(0, 1)
    upside_down, mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(array[:: -1 if upside_down else 1, :: -1 if mirrored else 1])


def _tiff_orientation(stream: IO[bytes]) -> int:
    """The orientation in the first directory of a TIFF; 1, upright, where there is none."""
    head = stream.read(16)
    if head[:4] not in _TIFF:
        return 1
    order = '<' if head[:2] == b'II' else '>'
    big = 43 in head[2:4]
    try:
        (start,) = struct.unpack_from(f'{order}{"Q" if big else "I"}', head, 8 if big else 4)
        stream.seek(start)
        counter, entry = (f'{order}Q', f'{order}HHQH') if big else (f'{order}H', f'{order}HHIH')
        (count,) = struct.unpack(counter, stream.read(struct.calcsize(counter)))
        directory = stream.read(count * (20 if big else 12))
        for number in range(count):
            tag, _, _, value = struct.unpack_from(entry, directory, number * (20 if big else 12))
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except (struct.error, OverflowError, MemoryError):
        pass
    return 1
