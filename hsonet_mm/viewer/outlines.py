"""Polygons of a scene as scripts that a page can load from the disk, a few thousand at a time."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform as transform_points

from hsonet_mm.errors import UserError
from hsonet_mm.geo.change_map import LAYER
from hsonet_mm.images.raster import coordinates

__all__ = ['write_outlines']

CHUNK = 4000

Batch = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]
"""Geometries, areas in square metres and mean probabilities."""


def write_outlines(
    path: Path,
    folder: Path,
    crs: CRS,
    transform: Affine,
    seen: Callable[[NDArray[np.int64]], None] = lambda _: None,
) -> int:
    """Write ``<number>.js`` with some thousand polygons each, in pixels of the scene.

    A polygon is ``[area, probability, rings]``; a ring is x and y of its first corner and then the steps to the others,
    all whole numbers, as regions of pixels have corners between pixels. Corners (N, 2) of some polygons at a time are
    given to ``seen``. Returns the number of scripts.

    Raises:
        UserError: if the polygons cannot be read.
        OSError: if the scripts cannot be written.
    """
    folder.mkdir()
    inverse, number = ~transform, 0
    degrees = CRS.from_epsg(4326)
    for number, (geometries, areas, probs) in enumerate(_batches(path), 1):
        parts, owners = shapely.get_parts(geometries, return_index=True)
        rings, parents = shapely.get_rings(parts, return_index=True)
        places, of_ring = shapely.get_coordinates(rings, return_index=True)
        xs, ys = places.T
        if path.suffix == '.geojson':
            xs, ys = (np.asarray(values) for values in transform_points(degrees, crs, xs, ys)[:2])
        corners = np.rint(np.stack(coordinates(inverse, xs, ys), axis=1)).astype(np.int64)
        seen(corners)
        polygons: list[list[Any]] = [
            [round(a, 1), round(p, 3), []] for a, p in zip(areas, probs, strict=True)
        ]
        ends = np.cumsum(np.bincount(of_ring, minlength=len(rings)))[:-1]
        for owner, ring in zip(owners[parents], np.split(corners, ends), strict=True):
            steps = np.diff(ring[:-1], axis=0, prepend=np.zeros((1, 2), np.int64))  # the last closes it
            polygons[owner][2].append(steps.ravel().tolist())
        text = json.dumps(polygons, separators=(',', ':'))
        (folder / f'{number - 1}.js').write_text(f'hsonetPolygons({text});\n', encoding='ascii')
    return number


def _batches(path: Path) -> Iterator[Batch]:
    """Polygons of a file; of a GeoPackage they are read a few thousand at a time."""
    if path.suffix == '.geojson':
        geometries, areas, probs = _read(path)
        for first in range(0, len(areas), CHUNK):
            part = slice(first, first + CHUNK)
            yield geometries[part], areas[part], probs[part]
        return
    first = 0
    while len((batch := _read(path, LAYER, skip_features=first, max_features=CHUNK))[1]):
        yield batch
        first += CHUNK


def _read(path: Path, layer: str | None = None, **window: int) -> Batch:
    from pyogrio.errors import DataLayerError, DataSourceError, FieldError
    from pyogrio.raw import read

    columns = ['area_m2', 'mean_prob']
    try:
        meta, _, geometries, fields = read(path, layer=layer, columns=columns, **window)
        values = dict(zip(meta['fields'], fields, strict=True))
        areas, probs = (values[name].astype(np.float64) for name in columns)
        return shapely.from_wkb(geometries), areas, probs
    except (DataLayerError, DataSourceError, FieldError, KeyError, shapely.errors.ShapelyError) as error:
        raise UserError(
            f'{path} cannot be read as the polygons of a scene ({str(error).splitlines()[0]}): run hsonet scene again'
        ) from None
