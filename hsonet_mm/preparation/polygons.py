"""Labels as polygons of a GIS, rasterised onto the grid of an image."""

from dataclasses import dataclass

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.features import rasterize
from rasterio.transform import xy
from rasterio.warp import transform

from hsonet_mm.errors import UserError

__all__ = ['Polygons', 'burn_polygons', 'no_polygon', 'read_polygons']


@dataclass(frozen=True)
class Polygons:
    """Polygons of the changed areas, shapely's, (N,)."""

    geometries: NDArray[np.object_]
    crs: CRS


def read_polygons(path: str, name: str) -> Polygons:
    """Read the only layer of polygons of a file.

    Raises:
        UserError: if pyogrio is missing, the file cannot be read, has none or several such layers, geometries that are
            no polygons, or no coordinate reference system that fits them.
    """
    try:
        import pyogrio
        import shapely
    except ImportError:
        raise UserError(
            f'the label {name} contains polygons: pip install "hsonet_mm[geo]" to read them'
        ) from None
    try:
        layers = [layer for layer, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) != 1:
            told = f'has the layers {", ".join(layers)}' if layers else 'has no layer with geometries'
            raise UserError(f'the label {name} {told}: save the changed areas as the only layer of a file')
        meta, _, geometries, _ = pyogrio.raw.read(path, layer=layers[0], columns=[])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise UserError(f'the label {name} cannot be read ({error}): replace it by an intact file') from None
    shapes = shapely.force_2d(shapely.from_wkb([one for one in geometries if one is not None]))
    shapes = shapes[~shapely.is_empty(shapes)]
    strange = set(shapely.get_type_id(shapes)) - {
        shapely.GeometryType.POLYGON,
        shapely.GeometryType.MULTIPOLYGON,
    }
    if strange:
        kind = shapely.GeometryType(min(strange)).name.lower()
        raise UserError(
            f'the label {name} contains geometries of type {kind}: give polygons of the changed areas'
        )
    if not meta['crs']:
        raise UserError(
            f'the label {name} has no coordinate reference system: assign the one it was drawn in'
        )
    try:
        crs = CRS.from_user_input(meta['crs'])
    except CRSError as error:
        raise UserError(
            f'the label {name} has an unknown coordinate reference system ({error}): assign it'
        ) from None
    if len(shapes) and crs.is_geographic:
        west, south, east, north = shapely.total_bounds(shapes)
        if max(-west, east) > 360 or max(-south, north) > 90:
            raise UserError(
                f'the label {name} declares degrees ({crs.to_string()}), but its coordinates reach '
                f'{max(abs(west), abs(south), abs(east), abs(north)):.0f}: assign the reference system it '
                'was drawn in'
            )
    return Polygons(shapes, crs)


def burn_polygons(
    polygons: Polygons, name: str, image: str, image_name: str
) -> tuple[NDArray[np.bool_], bool]:
    """Mask of the pixels of an image whose centres are in a polygon.

    Returns:
        Shape (H, W); and whether there is a polygon within the bounds of the image, or none at all.
    """
    import shapely

    try:
        with rasterio.open(image) as opened:
            crs, place, shape = opened.crs, opened.transform, opened.shape
    except RasterioError as error:
        raise UserError(f'{image_name} cannot be read ({error}): replace it by an intact file') from None
    if crs is None or place.is_identity:
        raise UserError(
            f'{image_name} is not georeferenced, so the polygons of {name} cannot be placed in it: give a GeoTIFF '
            'with a coordinate reference system'
        )
    shapes = polygons.geometries
    if len(shapes) and polygons.crs != crs:
        shapes = shapely.transform(
            shapes, lambda points: np.column_stack(transform(polygons.crs, crs, points[:, 0], points[:, 1]))
        )
        shapes = shapes[
            np.isfinite(shapely.bounds(shapes)).all(axis=1)
        ]  # the others are on another side of the Earth
    height, width = shape
    corners = zip(*xy(place, (0, 0, height, height), (0, width, width, 0), offset='ul'), strict=True)
    inside = shapes[shapely.intersects(shapes, shapely.Polygon(list(corners)))]
    if not len(inside):
        return np.zeros(shape, bool), not len(polygons.geometries)
    return rasterize(inside, shape, transform=place, dtype=np.uint8).astype(bool), True


def no_polygon(polygons: Polygons, name: str, image: str) -> UserError:
    """The error for polygons that do not overlap their image."""
    return UserError(
        f'no polygon of {name} ({polygons.crs.to_string()}) overlaps {image}: check that both cover the same place '
        'and name the coordinate reference system they are in'
    )
