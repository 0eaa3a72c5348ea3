"""GeoTIFFs, textures and turned pictures in files."""

import numpy as np
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

GRID = from_origin(500_000, 5_000_000, 0.5, 0.5)
RGB = ['red', 'green', 'blue']


def write_tiff(path, image, kinds=None, mask=None, crs='EPSG:32633', transform=GRID, **profile):
    """Write (H, W, bands) as GeoTIFF; kinds are what bands are said to be."""
    count = image.shape[2]
    colours = count == 3 and image.dtype == np.uint8 and kinds in (None, RGB)
    profile.setdefault('photometric', 'RGB' if colours else 'MINISBLACK')
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, 'w', driver='GTiff', height=image.shape[0], width=image.shape[1], count=count,
            dtype=image.dtype, crs=crs, transform=transform, **profile,
        ) as dataset,
    ):  # fmt: skip
        if kinds:
            dataset.colorinterp = [ColorInterp[kind] for kind in kinds]
        dataset.write(image.transpose(2, 0, 1))
        if mask is not None:
            dataset.write_mask(mask)
    return str(path)


def texture(height=48, width=64, bands=3, seed=0):
    return np.random.default_rng(seed).integers(40, 200, (height, width, bands), dtype=np.uint8)


def as_stored(image, orientation):
    """What is in a file whose orientation brings it back to the image."""
    return np.ascontiguousarray({
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.swapaxes(0, 1),
        6: np.rot90(image),
        7: image[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(image, -1),
    }[orientation])  # fmt: skip


def save_turned(path, image, orientation):
    """Save a picture turned, with the tag that turns it back."""
    exif = Image.Exif()
    exif[274] = orientation
    extra = {'tiffinfo': {274: orientation}} if path.suffix == '.tif' else {'exif': exif}
    quality = {'quality': 100, 'subsampling': 0} if path.suffix == '.jpg' else {}
    Image.fromarray(as_stored(image, orientation)).save(path, **quality, **extra)
