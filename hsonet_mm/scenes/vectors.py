"""Polygons as GeoPackage or GeoJSON, a few thousand at a time."""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from hsonet_mm.geo.change_map import LAYER
from hsonet_mm.scenes.polygons import Polygon

__all__ = ['FORMATS', 'write_polygons']

FORMATS = ('gpkg', 'geojson')

CHUNK = 2000

EPOCH = '1970-01-01T00:00:00.000Z'
"""The time of change in a GeoPackage, so that equal results are equal files."""


def write_polygons(path: Path, polygons: Iterable[Polygon], crs: CRS, dates: tuple[str, str]) -> None:
    """Write polygons with their area, mean probability and the names of the dates.

    Args:
        path: File ending in one of :data:`FORMATS`. GeoPackage keeps the reference system of the scene, GeoJSON
            is in degrees of longitude and latitude, and its polygons are cut at 180 degrees, as its standard asks
            for (RFC 7946).
        polygons: May come one by one.
        crs: Reference system of the polygons.
        dates: Names of the two dates.

    Raises:
        OSError: if the file cannot be written.
    """
    path.unlink(missing_ok=True)
    write = _write_gpkg if path.suffix == '.gpkg' else _write_geojson
    write(path, iter(polygons), crs, dates)


def _write_gpkg(path: Path, polygons: Iterator[Polygon], crs: CRS, dates: tuple[str, str]) -> None:
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError
    from pyogrio.raw import write

    epsg = crs.to_epsg()
    exact = epsg is not None and CRS.from_epsg(epsg) == crs  # it may be that of a system much like this one
    before = pyogrio.get_gdal_config_option('OGR_CURRENT_DATE')
    pyogrio.set_gdal_config_options({'OGR_CURRENT_DATE': EPOCH})
    try:
        append = False
        while (chunk := list(islice(polygons, CHUNK))) or not append:
            write(
                path,
                np.array([shapely.to_wkb(polygon.geometry) for polygon in chunk], object),
                _fields(chunk, dates),
                ['area_m2', 'mean_prob', 'before', 'after'],
                layer=LAYER,
                driver='GPKG',
                geometry_type='MultiPolygon',
                promote_to_multi=True,
                crs=f'EPSG:{epsg}' if exact else crs.to_wkt(),
                append=append,
            )
            append = True
    except (DataSourceError, DataLayerError, FeatureError) as error:
        raise OSError(f'{path.name} cannot be written ({error})') from error
    finally:
        pyogrio.set_gdal_config_options({'OGR_CURRENT_DATE': before})


def _fields(polygons: list[Polygon], dates: tuple[str, str]) -> list[NDArray[Any]]:
    return [
        np.array([round(polygon.area, 2) for polygon in polygons], np.float64),
        np.array([round(polygon.prob, 4) for polygon in polygons], np.float64),
        *(np.full(len(polygons), date, object) for date in dates),
    ]


def _write_geojson(path: Path, polygons: Iterator[Polygon], crs: CRS, dates: tuple[str, str]) -> None:
    degrees = CRS.from_epsg(4326)

    def to_degrees(places: NDArray[np.float64]) -> NDArray[np.float64]:
        points = transform_points(crs, degrees, *places.T.tolist())[:2]
        return np.round(np.stack(points, axis=1), 8)

    with path.open('w', encoding='utf-8') as file:
        file.write(f'{{"type": "FeatureCollection", "name": "{LAYER}", "features": [')
        for number, polygon in enumerate(polygons):
            geometry = shapely.transform(polygon.geometry, to_degrees)
            geometry = _cut_at_180(geometry, continuous=crs.is_geographic)
            geometry = shapely.orient_polygons(geometry)
            properties = {
                'area_m2': round(polygon.area, 2),
                'mean_prob': round(polygon.prob, 4),
                'before': dates[0],
                'after': dates[1],
            }
            feature = {
                'type': 'Feature',
                'properties': properties,
                'geometry': shapely.geometry.mapping(geometry),
            }
            file.write(f'{"," if number else ""}\n{json.dumps(feature)}')
        file.write('\n]}\n')


def _cut_at_180(geometry: Any, continuous: bool) -> Any:
    """Normalise a polygon in degrees to longitudes from -180 to 180, and split it at 180.

    The longitudes of a raster are continuous beyond 180; else a polygon across 180 has some near 180 and some near
    -180.
    """
    west, _, east, _ = geometry.bounds
    if not continuous and east - west > 180:
        geometry = shapely.transform(geometry, lambda places: places + [360, 0] * (places[:, :1] < 0))
        west, _, east, _ = geometry.bounds
    turns = range(math.floor((west + 180) / 360), math.ceil((east - 180) / 360) + 1)
    if list(turns) == [0]:
        return geometry
    sides = []
    for turn in turns:
        side = geometry.intersection(shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        sides.append(shapely.transform(side, lambda places, turn=turn: places - [360 * turn, 0]))
    return shapely.MultiPolygon([part for side in sides for part in shapely.get_parts(side) if part.area])
