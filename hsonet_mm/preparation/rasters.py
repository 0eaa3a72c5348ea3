"""Read the images and masks that users have, from folders and archives, and write tiles of them."""

import hashlib
from collections.abc import Mapping

import cv2
import numpy as np

from hsonet_mm.images import Pixels, Reading, read_pixels
from hsonet_mm.preparation.sources import Source

__all__ = [
    'encode_tile',
    'rank',
    'read_date',
    'read_dates',
]


def read_date(source: Source, name: str, reading: Reading) -> Pixels:
    """Read one date of a pair, see :func:`hsonet_mm.images.read_pixels`."""
    return read_pixels(source.located(name), reading, source.reader(name), name)


def read_dates(
    source: Source, files: Mapping[str, str], reading: Reading | None = None
) -> tuple[Pixels, Pixels]:
    """Read both dates of a pair, the roles ``'A'`` and ``'B'`` of its files, see :func:`read_date`."""
    reading = reading or Reading()
    t1, t2 = (read_date(source, files[role], reading.of_date(date)) for date, role in enumerate('AB'))
    return t1, t2


def encode_tile(values: np.ndarray, valid: np.ndarray | None) -> tuple[str, bytes]:
    """Encode a tile of a date and mark pixels without data: transparent in a png, masked in a GeoTIFF.

    The suffix is ``'.png'`` for three bands and ``'.tif'`` for any other number.
    """
    if values.shape[2] == 3:
        image = cv2.cvtColor(values, cv2.COLOR_RGB2BGR)
        if valid is not None and not valid.all():
            image = np.dstack([image, valid.astype(np.uint8) * np.uint8(255)])
        return '.png', cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
    from hsonet_mm.images.gdal import encode_tiff

    return '.tif', encode_tiff(values, valid)


def rank(seed: int, name: str) -> str:
    """A sort key for a random order of names that depends only on the seed and the name."""
    return hashlib.sha256(f'{seed}/{name}'.encode(errors='surrogateescape')).hexdigest()
