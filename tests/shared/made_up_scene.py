"""Made-up scenes: rasters of two dates, and what reads their results."""

import cv2
import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from hsonet_mm.scenes.record import SceneOptions

UTM = 'EPSG:32633'
GRID = from_origin(500_000, 5_000_000, 0.5, 0.5)


def write_raster(path, image, crs=UTM, transform=GRID, **profile):
    """Write (bands, H, W); returns the path."""
    count, height, width = image.shape
    profile = {'driver': 'GTiff', 'photometric': 'RGB', 'crs': crs, 'transform': transform, **profile}
    alpha = profile.pop('with_alpha', False)
    mask = profile.pop('with_mask', None)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, 'w', count=count, height=height, width=width, dtype=image.dtype, **profile
        ) as dataset,
    ):
        if alpha:
            dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        dataset.write(image)
        if mask is not None:
            dataset.write_mask(mask)
    return path


def ground(height, width, seed=0):
    """Smooth coloured ground, (3, H, W) between 60 and 160."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 160, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1).copy()


def make_pair(folder, height=300, width=420, boxes=((40, 50, 30, 20),), **profile):
    """Two dates that differ in boxes (row, column, height, width), there 0 and 255; returns their paths."""
    t1 = ground(height, width)
    t2 = t1.copy()
    for row, column, rows, columns in boxes:
        t1[:, row : row + rows, column : column + columns] = 0
        t2[:, row : row + rows, column : column + columns] = 255
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        write_raster(folder / f'{name}.tif', image, **profile)
        for name, image in (('before', t1), ('after', t2))
    )


SMALL = SceneOptions(tile=128, overlap=64, batch=3, min_area=0)
OPTIONS = SceneOptions(tile=128, overlap=64, min_area=0)


def read_all(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1), dataset.profile, dataset.tags()


def probs_of(path):
    """Probabilities with NaN for nodata."""
    values, profile, _ = read_all(path)
    if profile['dtype'] == 'float32':
        return values
    return np.where(values == 255, np.nan, values / 250)


def replaced(**changes):
    return SceneOptions(**{**SMALL.__dict__, **changes})


def write(path, image=None, **profile):
    """A raster that is in order but for what is asked for."""
    image = np.full((3, 300, 300), 90, np.uint8) if image is None else image
    profile = {'crs': UTM, 'transform': GRID, **profile}
    count, height, width = image.shape
    with rasterio.open(
        path, 'w', driver='GTiff', count=count, height=height, width=width, dtype=image.dtype, **profile
    ) as dataset:
        if count >= 3:
            colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
            dataset.colorinterp = colours + [ColorInterp.undefined] * (count - 3)
        dataset.write(image)
    return path


def write_pair(folder):
    """The rasters of both dates in a folder ``in``."""
    (folder / 'in').mkdir()
    return write(folder / 'in' / 'before.tif'), write(folder / 'in' / 'after.tif')
