"""Results of scenes to be viewed, and what reads their views."""

import base64
import json
import re
import zlib

import cv2
import numpy as np
import rasterio
from helpers import fake_detector
from rasterio.transform import from_origin

from hsonet_mm.scenes.scene import SceneOptions, detect_scene

UTM = 'EPSG:32633'
GRID = from_origin(500_000, 5_000_000, 0.5, 0.5)
OPTIONS = SceneOptions(tile=256, overlap=64, min_area=0)
NODATA = (500, 1000)
"""Below this row and right of this column the second date of the scene has no value."""


BOXES = ((60, 70, 80, 60, 200), (300, 400, 40, 100, 255), (600, 300, 20, 20, 160), (200, 900, 6, 5, 230))
"""Row, column, height, width and difference of what changes."""


FAKE = fake_detector(threshold=0.7)


def write(path, image, **profile):
    count, height, width = image.shape
    profile = {'crs': UTM, 'transform': GRID, 'photometric': 'RGB', **profile}
    with rasterio.open(
        path, 'w', driver='GTiff', count=count, height=height, width=width, dtype=image.dtype, **profile
    ) as dataset:
        dataset.write(image)
    return path


def make_scene(folder, height=700, width=1100, boxes=BOXES, options=OPTIONS, name='change', hole=True):
    """Two dates, a corner without value, and the result; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(0).integers(
        60, 160, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8
    )
    t1 = cv2.resize(coarse, (width, height)).transpose(2, 0, 1).copy()
    t2 = t1.copy()
    for row, column, rows, columns, change in boxes:
        t1[:, row : row + rows, column : column + columns] = 0
        t2[:, row : row + rows, column : column + columns] = change
    if hole:  # around a part that did not change
        t2[:, 80:100, 90:110] = 0
    t2[:, NODATA[0] :, NODATA[1] :] = 1
    before, after = write(folder / 'before.tif', t1), write(folder / 'after.tif', t2, nodata=1)
    detect_scene(FAKE, before, after, folder / f'{name}.tif', options)
    return folder / f'{name}.tif'


def run(*arguments):
    """The command ``hsonet view`` in this process."""
    from hsonet_mm.cli import main

    return main(['view', *map(str, arguments)])


def decode(script, shape):
    """The bytes of a tile of probabilities, as the page reads them."""
    name, data = re.fullmatch(r'hsonetTile\("(\S+)","(\S+)"\);\n', script.read_text()).groups()
    assert name == f'{script.parent.name}/{script.stem}'
    return np.frombuffer(zlib.decompress(base64.b64decode(data)), np.uint8).reshape(shape)


def manifest(folder):
    text = (folder / 'index.html').read_text()
    return json.loads(re.search(r'<script type="application/json" id="scene">(.*?)</script>', text)[1])


def outlines(folder):
    """Polygons of a view as area, probability and corners of each ring."""
    found = []
    for script in sorted((folder / 'polygons').iterdir()):
        for area, prob, rings in json.loads(script.read_text()[len('hsonetPolygons(') : -3]):
            found.append(
                (area, prob, [np.cumsum(np.reshape(ring, (-1, 2)), axis=0).tolist() for ring in rings])
            )
    return found
