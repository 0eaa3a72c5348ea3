"""Reading images and masks from files, by one set of rules.

Undeclared, a file is believed: what it calls red, green and blue, its orientation, alpha band, mask and nodata value.
:class:`Reading` declares more. Pillow decodes what it reads as it is, GDAL all else.
"""

from hsonet_mm.images.files import IMAGE_SUFFIXES, RASTER_SUFFIXES, image_size, read_raster
from hsonet_mm.images.options import Reading, Stretch, add_reading_arguments, reading_of
from hsonet_mm.images.pairs import ImagePair, check_overlap, join, notes_of, pair_of, place_note
from hsonet_mm.images.pixels import Pixels, first_three, read_pixels, size, to_bgr
from hsonet_mm.images.raster import Note, Raster, check_nodata

__all__ = [
    'IMAGE_SUFFIXES',
    'RASTER_SUFFIXES',
    'ImagePair',
    'Note',
    'Pixels',
    'Raster',
    'Reading',
    'Stretch',
    'add_reading_arguments',
    'check_nodata',
    'check_overlap',
    'first_three',
    'image_size',
    'join',
    'notes_of',
    'pair_of',
    'place_note',
    'read_pixels',
    'read_raster',
    'reading_of',
    'size',
    'to_bgr',
]
