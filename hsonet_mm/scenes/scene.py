"""Change map of one scene, from two rasters to all results."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.files import made_folder, unwritable
from hsonet_mm.geo.areas import PixelAreas
from hsonet_mm.geo.change_map import PROBS_SCALE
from hsonet_mm.geo.environment import limited_cache
from hsonet_mm.geo.headers import RasterInfo, read_dates
from hsonet_mm.geo.places import RasterPath, find_raster
from hsonet_mm.geo.rasters import ScenePair, border_notes
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.inference.resolution import dates_note, resampling, resolution_note
from hsonet_mm.memory import give_back_memory
from hsonet_mm.progress import progress_bar
from hsonet_mm.scenes.job import SceneJob
from hsonet_mm.scenes.outputs import write_geotiff
from hsonet_mm.scenes.pipeline import detect_tiles, worker_threads
from hsonet_mm.scenes.polygons import Polygoniser
from hsonet_mm.scenes.record import SceneOptions, describe, earlier_summary, job_key, up_to_date
from hsonet_mm.scenes.vectors import FORMATS, write_polygons
from hsonet_mm.texts import require_utf8

__all__ = ['SceneOptions', 'SceneResult', 'detect_scene', 'result_files']


@dataclass(frozen=True)
class SceneResult:
    """The result of a scene.

    Attributes:
        files: Files written by kind: ``probs``, ``mask``, ``polygons`` and ``summary``.
        summary: What the JSON summary says.
        fresh: False where all was there already, of the same inputs and options.
    """

    files: dict[str, Path]
    summary: dict[str, Any]
    fresh: bool


def result_files(output: Path, polygons: str = 'gpkg') -> dict[str, Path]:
    """The files of a result by kind, named after the file of the probabilities.

    Example:
        >>> [path.name for path in result_files(Path('out/change.tif')).values()]
        ['change.tif', 'change_mask.tif', 'change.gpkg', 'change.json']
    """
    files = {'probs': output, 'mask': output.with_name(f'{output.stem}_mask.tif')}
    if polygons != 'none':
        files['polygons'] = output.with_suffix(f'.{polygons}')
    return {**files, 'summary': output.with_suffix('.json')}


def job_folder(output: Path) -> Path:
    """Where a result grows until all is done."""
    return output.with_name(f'.{output.name}.part')


def detect_scene(
    detector: ChangeDetector,
    before: str | Path,
    after: str | Path,
    output: str | Path,
    options: SceneOptions | None = None,
    model_files: Sequence[str | Path] = (),
    progress: bool = False,
    warn: Callable[[Sequence[str]], None] | None = None,
) -> SceneResult:
    """Find the changes between two rasters of any size, with constant memory.

    The result has the grid of the first date: probabilities in ``output``, a mask in ``<output>_mask.tif`` (1
    changed, 0 not, 255 nodata), polygons and a JSON summary beside them. They appear when all is done. Until then
    the result grows in the folder ``.<output>.part``; after a kill or an error the same call goes on with it.

    Args:
        detector: The model. It sees each tile as a whole, whatever the window of the detector.
        before: Raster of the first date: a file, or a name that GDAL opens, as ``https://...`` or ``/vsizip/...``.
        after: Raster of the second date, on any grid.
        output: GeoTIFF to write; files of an earlier result are replaced.
        options: How to do it.
        model_files: Files of the model; when one has changed, nothing is taken over from an earlier run.
        progress: Show a progress bar on the standard error stream.
        warn: Called with the warnings of the summary before the scene is computed.

    Raises:
        UserError: if something is wrong with the inputs or the place of the output; there is no output then.

    Example:
        >>> import tempfile
        >>> import numpy as np, rasterio
        >>> from hsonet_mm import ChangeDetector
        >>> folder = Path(tempfile.mkdtemp())
        >>> grid = {'crs': 'EPSG:32633', 'transform': rasterio.transform.from_origin(500_000, 5_000_000, 0.5, 0.5)}
        >>> for name in ('before.tif', 'after.tif'):
        ...     with rasterio.open(
        ...         folder / name, 'w', width=256, height=256, count=3, dtype='uint8', photometric='RGB', **grid
        ...     ) as file:
        ...         file.write(np.full((3, 256, 256), 90, np.uint8))
        >>> detector = ChangeDetector.pretrained(threads=1)
        >>> result = detect_scene(detector, folder / 'before.tif', folder / 'after.tif', folder / 'change.tif')
        >>> result.summary['polygons'], sorted(path.name for path in result.files.values())
        (0, ['change.gpkg', 'change.json', 'change.tif', 'change_mask.tif'])
    """
    options, output = options or SceneOptions(), Path(output)
    reading, notes = options.reading.for_model(detector.name, detector.reading)
    options = replace(options, reading=reading, tta=options.tta or detector.tta)
    files = result_files(output, options.polygons)
    with limited_cache():
        t1, t2 = read_dates(find_raster(before), find_raster(after), reading)
        _check_output(output, files, (t1.path, t2.path))
        _check_polygons(options.polygons, t1)
        pair = ScenePair(t1, t2, reading.stretch)
        if t1.path.resolve() == t2.path.resolve():
            notes.append(f'{t2.path} is given for both dates')
        for info in (t1, t2):
            notes += info.notes if reading.nodata is not None else [*info.notes, *border_notes(info)]
        window = detector.window.chosen(options.tile, options.overlap, '--tile')
        size, wanted, there = pair.pixel_size, detector.ground_resolution, None
        if options.resample is not None:
            tile = window.size if window.fixed else None
            there = resampling(t1.path, size, options.resample, detector.name, wanted, tile)
        elif size is not None:
            note = resolution_note(t1.path, size, detector.name, wanted)
            notes += [] if note is None else [note]
        notes += pair.notes()
        if (sizes := pair.pixel_sizes) is not None:
            note = dates_note(t1.path, sizes[0], t2.path, sizes[1])
            notes += [] if note is None else [note]
        if warn is not None:
            warn(notes)
        shape = pair.height, pair.width
        grid = window.grid(*shape) if there is None else there.grid(window, *shape)
        options = replace(
            options,
            tile=window.size,
            overlap=window.overlap,
            resample=None if there is None else there.metres,
        )
        summary = {**describe(detector, pair, options, files), 'warnings': notes}
        key = job_key(detector, pair, options, model_files)
        if (found := up_to_date(files, key)) is not None:
            return SceneResult(files, found, fresh=False)
        folder = job_folder(output)
        megapixels = pair.height * pair.width / len(grid) / 1e6  # of a tile
        dtype = 'float32' if options.float32 else 'uint8'
        with made_folder(output.parent), SceneJob(folder, key, grid, dtype) as job:
            try:
                give_back_memory()  # what GDAL decoded for the warnings
                with progress_bar('tiles', len(grid), job.done, megapixels, progress) as advance:
                    detect_tiles(
                        detector, pair, grid, job, options.batch, options.tta, options.readers, advance, there
                    )
                pair.check_unchanged()
                pair.close()
                give_back_memory()  # the decoded blocks of both dates, and what the model needed
                summary = {**summary, **_write(job, pair, options, detector, files, summary), 'key': key}
                partial = folder / 'summary.json'
                partial.write_text(json.dumps(summary, indent=1) + '\n', encoding='utf-8')
                for old in _leftovers(files):
                    old.unlink(missing_ok=True)
                for kind, name in _PARTS.items():
                    if kind in files:
                        path = folder / name.format(options.polygons)
                        path.replace(files[kind])
            except UserError as error:
                if not job.done:
                    job.discard()
                if not folder.exists():
                    raise
                raise UserError(f'{error} (work so far in {folder})') from None
            except OSError as error:
                raise unwritable(output, error, ', and run the command again') from error
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f'repeat the command to continue (work so far in {folder})') from None
            finally:
                pair.close()
            job.discard()
    return SceneResult(files, summary, fresh=True)


_PARTS = {
    'probs': 'probs.tif',
    'mask': 'mask.tif',
    'polygons': 'polygons.{}',
    'summary': 'summary.json',
}
"""Files of a result in the folder of the job, in the order in which they are moved out."""


def _leftovers(files: Mapping[str, Path]) -> list[Path]:
    """Files of an earlier result of that name that this one does not replace: other polygons, and statistics by GDAL.

    Polygons that no summary names are somebody else's.
    """
    named = earlier_summary(files).get('files')
    polygons = [
        path
        for path in (files['probs'].with_suffix(f'.{kind}') for kind in FORMATS)
        if isinstance(named, dict) and path.name == named.get('polygons')
    ]
    statistics = [files[kind].with_name(f'{files[kind].name}.aux.xml') for kind in ('probs', 'mask')]
    return [path for path in (*polygons, *statistics) if path not in files.values()]


def _check_output(output: Path, files: Mapping[str, Path], inputs: Sequence[RasterPath]) -> None:
    if output.suffix.lower() not in ('.tif', '.tiff'):
        raise UserError(f"invalid output '{output}': expected a GeoTIFF, a name that ends in .tif")
    require_utf8(output)
    named = earlier_summary(files).get('files')
    other = named.get('probs') if isinstance(named, dict) else None
    if isinstance(other, str) and other != output.name and output.with_name(other).exists():
        raise UserError(
            f'{files["summary"].name} is the summary of {output.with_name(other)}: give another name with -o'
        )
    for path in (*files.values(), *_leftovers(files)):
        if path.is_dir():
            raise UserError(f'{path} is a folder: give another name with -o')
        if path.resolve() in [given.resolve() for given in inputs]:
            raise UserError(f'{path} is an input that the result would overwrite: give another name with -o')
    known = set(named.values()) if isinstance(named, dict) else set()
    interrupted = job_folder(output).exists()  # perhaps while its files were moved out
    for kind in files.keys() - {'probs'}:
        if files[kind].is_file() and files[kind].name not in known and not interrupted:
            raise UserError(
                f'{files[kind]} exists and belongs to no result: give another name with -o, or delete it'
            )


def _check_polygons(polygons: str, info: RasterInfo) -> None:
    if polygons == 'geojson' and not (info.crs.is_geographic or info.crs.is_projected):
        raise UserError(
            f'{info.path} has a local coordinate system, but GeoJSON needs degrees: use --polygons gpkg, or '
            'assign the right reference system (gdal_edit -a_srs EPSG:...)'
        )


def _write(
    job: SceneJob,
    pair: ScenePair,
    options: SceneOptions,
    detector: ChangeDetector,
    files: Mapping[str, Path],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """Write all results but the summary into the folder of the job; returns the figures of the summary.

    Polygons are found while the rasters are written.
    """

    def read_rows(first: int, last: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        probs = job.read_rows('probs', first, last).astype(np.float32)
        if not options.float32:
            probs /= PROBS_SCALE
        return job.read_rows('mask', first, last).astype(np.uint8, copy=False), probs

    areas = PixelAreas(pair.t1.crs, pair.t1.transform, pair.width, pair.height)
    regions = Polygoniser(read_rows, pair.width, pair.height, pair.t1.transform, areas, options.min_area)
    dates = summary['before']['name'], summary['after']['name']
    tags = {
        'MODEL': detector.name,
        'THRESHOLD': f'{detector.threshold:g}',
        'BEFORE': dates[0],
        'AFTER': dates[1],
    }
    encoding = 'probability as it is' if options.float32 else f'{PROBS_SCALE} is a probability of 1'
    values = {'probs': f'{encoding}, nodata outside', 'mask': '1 changed, 0 not, 255 nodata'}
    with worker_threads(1) as writing:  # one raster after the other, for the memory that each takes
        rasters = [
            writing.submit(write_geotiff, job, name, pair.t1, {**tags, 'VALUES': text})
            for name, text in values.items()
        ]
        if 'polygons' in files:
            write_polygons(job.folder / f'polygons.{options.polygons}', regions, pair.t1.crs, dates)
        else:
            for _ in regions:
                pass
        for raster in rasters:
            raster.result()
    if not regions.valid:
        job.discard()  # there is nothing to go on with
        raise UserError(
            f'{pair.t1.path} and {pair.t2.path} have no valid pixel in common: check their nodata values, '
            'and that they show the same place'
        )
    return {
        'pixels': pair.width * pair.height,
        'valid_pixels': regions.valid,
        'changed_pixels': regions.changed,
        'changed_share': regions.changed / regions.valid,
        'changed_area_m2': round(regions.changed_area, 2),
        'polygons': regions.given,
        'polygons_left_out': regions.small,
        'min_area_m2': options.min_area,
    }
