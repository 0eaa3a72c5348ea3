"""Options of a scene, and how they are recorded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import rasterio

from hsonet_mm.geo.headers import file_state
from hsonet_mm.geo.rasters import ScenePair
from hsonet_mm.images import Reading
from hsonet_mm.inference.calibration import sidecar_of
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.version import __version__

__all__ = ['SceneOptions', 'describe', 'earlier_summary', 'job_key', 'up_to_date']


@dataclass(frozen=True)
class SceneOptions:
    """How a scene is read, predicted and written.

    Attributes:
        tile: Rows and columns that the model sees at once; by default the size of its training crops, or the only one
            that an exported model takes. Multiples of 32 are best.
        overlap: Rows and columns that neighbouring tiles share; by default a quarter, rounded up to a multiple of 32.
        tta: Kinds of test-time augmentation, of ``flips``, ``rotations`` and ``swap``; by default the detector's.
        reading: Bands, stretch and nodata of both dates; what is not declared is as in the model's training.
        float32: Write probabilities as float32 instead of 8 bits, where 250 means 1.
        min_area: Square metres; smaller regions get no polygon, but remain in the mask.
        resample: Pixel size on the ground, in metres, to which tiles are resampled for the model; ``'model'`` for the
            nearest size that the model is for. None does not resample.
    """

    tile: int | None = None
    overlap: int | None = None
    batch: int = 4
    tta: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    float32: bool = False
    polygons: str = 'gpkg'
    min_area: float = 10.0
    dates: tuple[str, str] | None = None
    readers: int = 2
    resample: float | str | None = None


def job_key(
    detector: ChangeDetector, pair: ScenePair, options: SceneOptions, model_files: Sequence[str | Path]
) -> dict[str, Any]:
    """Everything that determines the result, which does not include the output path."""
    paths = [Path(path) for path in model_files]
    sidecars = [path for path in map(sidecar_of, paths) if path.is_file()]
    return {
        'hsonet_mm': __version__,
        'inputs': [[str(info.path.resolve()), *map(list, info.state)] for info in (pair.t1, pair.t2)],
        'model': [detector.name, detector.threshold, dict(detector.versions)],
        'model_files': [[str(path), *file_state(path)] for path in (*paths, *sidecars)],
        'options': json.loads(json.dumps({**asdict(options), 'readers': None})),
    }


def up_to_date(files: Mapping[str, Path], key: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of a finished run with the same key, if all of its files are there.

    Whether a raster on a server has changed is not known, so a run with one is never up to date.
    """
    summary = earlier_summary(files)
    same = summary.get('key') == key and all(len(state) > 1 for state in key['inputs'])
    return summary if same and all(path.is_file() for path in files.values()) else None


def earlier_summary(files: Mapping[str, Path]) -> dict[str, Any]:
    """The summary of a result by an earlier run; empty without one."""
    try:
        summary = json.loads(files['summary'].read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def describe(
    detector: ChangeDetector, pair: ScenePair, options: SceneOptions, files: Mapping[str, Path]
) -> dict[str, Any]:
    """The part of the summary that is known from the start."""
    size = pair.pixel_size
    names = options.dates or (pair.t1.path.stem, pair.t2.path.stem)
    return {
        'before': {'name': names[0], 'file': str(pair.t1.path)},
        'after': {'name': names[1], 'file': str(pair.t2.path), 'resampled': pair.resampled},
        'model': detector.name,
        'threshold': detector.threshold,
        'threshold_source': detector.threshold_source,
        'versions': {
            'hsonet_mm': __version__,
            **detector.versions,
            'rasterio': rasterio.__version__,
            'gdal': rasterio.__gdal_version__,
        },
        'reading': options.reading.to_dict(),
        'bands': {'before': list(pair.t1.bands), 'after': list(pair.t2.bands)},
        'stretch': [str(stretch) if stretch else 'none' for stretch in pair.stretches],
        'ground_resolution_m': None if size is None else round(size.mean, 4),
        'resampled_to_m': options.resample,
        'tile': options.tile,
        'overlap': options.overlap,
        'tta': list(options.tta),
        'crs': pair.t1.crs.to_string(),
        'width': pair.width,
        'height': pair.height,
        'files': {kind: path.name for kind, path in files.items()},
    }
