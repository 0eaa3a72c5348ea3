"""The results of ``hsonet scene`` for one scene, read window by window."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.geo.change_map import PROBS_NODATA, stored_probs
from hsonet_mm.geo.headers import open_raster, read_info
from hsonet_mm.geo.places import RasterPath, raster_path
from hsonet_mm.geo.rasters import ScenePair
from hsonet_mm.images import Reading, first_three
from hsonet_mm.images.gdal import GDAL_ERRORS, reason

__all__ = ['SUFFIXES', 'SceneSource', 'open_source', 'read_summary']


@dataclass(frozen=True)
class SceneSource:
    """A finished scene, with both dates on its grid; ``float32`` where probabilities are stored as they are."""

    path: Path
    summary: Mapping[str, Any]
    pair: ScenePair
    polygons: Path | None
    float32: bool

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.uint8]:
        """Read a window of all layers; may be called from several threads.

        Returns (H, W, 7): first date (BGR), second date (BGR), and probability, where 250 is 1. Without a value in one
        of them, a pixel is 0 in both dates and 255 in the probability.
        """
        t1, t2, valid = self.pair.read(rows, columns)
        try:
            with open_raster(self.path) as dataset:
                probs = dataset.read(1, window=(rows, columns))
        except (*GDAL_ERRORS, OSError) as error:
            raise UserError(
                f'{self.path} cannot be read at row {rows[0]}, column {columns[0]}, it is truncated or damaged '
                f'({reason(error)}): run hsonet scene again'
            ) from None
        if self.float32:
            valid &= np.isfinite(probs)
            probs = stored_probs(np.nan_to_num(probs), valid, 'uint8')
        valid &= probs != PROBS_NODATA
        pictures = [first_three(image)[..., ::-1] for image in (t1, t2)]
        block = np.concatenate([*pictures, probs[..., None]], axis=2)
        block[~valid] = NODATA
        return block


NODATA = np.array([0, 0, 0, 0, 0, 0, PROBS_NODATA], np.uint8)
"""A pixel of :meth:`SceneSource.read` without a value."""


SUFFIXES = ('.tif', '.tiff')
"""Ends of the names of probabilities, in small letters."""

KNOWN = {
    *('before', 'after', 'model', 'threshold', 'bands', 'width', 'height', 'files', 'polygons'),
    *('min_area_m2', 'valid_pixels', 'changed_pixels', 'changed_share', 'changed_area_m2'),
}
"""What pages take from a summary."""


def read_summary(path: Path) -> dict[str, Any]:
    """Read the summary beside the probabilities of a scene."""
    if not path.is_file():
        raise UserError(
            f'{path} does not exist: give the GeoTIFF that hsonet scene wrote, such as change.tif'
        )
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f'{path} is not a GeoTIFF: give the one that hsonet scene wrote, such as change.tif')
    beside = path.with_suffix('.json')
    try:
        summary = json.loads(beside.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        summary = None
    if not isinstance(summary, dict) or KNOWN - summary.keys():
        raise UserError(
            f'{path} is not a result of hsonet scene, or its summary {beside.name} is missing: give the '
            'probabilities (not the mask), and keep its files together'
        )
    return summary


def open_source(path: Path, before: RasterPath | None = None, after: RasterPath | None = None) -> SceneSource:
    """Find all files of a scene."""
    summary = read_summary(path)
    reading = Reading.from_dict(summary.get('reading'))
    t1 = read_info(_find(path, summary, 'before', before), reading.of_date(0))
    t2 = read_info(_find(path, summary, 'after', after), reading.of_date(1))
    with open_raster(path) as dataset:
        dtype = dataset.dtypes[0] if dataset.count == 1 else ''
        size = dataset.width, dataset.height
        tolerance = 1e-6 * abs(t1.transform.determinant) ** 0.5
        on_grid = dataset.crs == t1.crs and t1.transform.almost_equals(dataset.transform, tolerance)
    if dtype not in ('uint8', 'float32') or size != (summary['width'], summary['height']):
        raise UserError(f'{path} does not match its summary: run hsonet scene again')
    if not on_grid or size != (t1.width, t1.height):
        raise UserError(
            f'{t1.path} ({t1.width} x {t1.height} pixels) does not match the grid of {path} ({size[0]} x {size[1]}): '
            'give the original raster with --before'
        )
    name = summary['files'].get('polygons')
    polygons = path.with_name(name) if name else None
    return SceneSource(
        path,
        summary,
        ScenePair(t1, t2, reading.stretch),
        polygons if polygons and polygons.is_file() else None,
        dtype == 'float32',
    )


def _find(path: Path, summary: Mapping[str, Any], date: str, given: RasterPath | None) -> RasterPath:
    """Path of a date: as given, as recorded, or beside the result."""
    if given is not None:
        return given
    file = raster_path(summary[date]['file'])
    if not isinstance(file, Path):
        return file
    inputs = summary.get('key', {}).get('inputs')
    was = Path(inputs[date == 'after'][0]) if inputs else file
    found = next((place for place in (was, file, path.with_name(file.name)) if place.is_file()), None)
    if found is None:
        raise UserError(f'{was}, an input of {path}, no longer exists: give it with --{date} FILE')
    return found
