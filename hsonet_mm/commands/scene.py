"""``hsonet scene``: change maps of georeferenced rasters of any size."""

import argparse
import math
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from hsonet_mm.commands.options import (
    add_compute_options,
    add_model_option,
    add_resample_option,
    add_threshold_option,
    add_tta_option,
    add_worker_options,
    check_positive,
    check_worker_options,
    gpus_of,
    resample_of,
    split_model,
    tta_of,
    warn,
    without_data,
)
from hsonet_mm.errors import UserError
from hsonet_mm.images import add_reading_arguments, reading_of
from hsonet_mm.mistakes import OPENCV
from hsonet_mm.overrides import add_cfg_options
from hsonet_mm.scenes.model import ModelSpec
from hsonet_mm.texts import counted, threshold_text

__all__ = ['add_arguments', 'require_geo', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hsonet scene``."""
    parser.description = (
        'Map the changes between two georeferenced rasters of any size, or for many such pairs. An interrupted '
        'command, when repeated, continues where it stopped.'
    )
    parser.add_argument(
        'arguments',
        nargs='*',
        metavar='BEFORE AFTER',
        help='rasters of both dates (files, or names that GDAL opens, such as https://..., /vsizip/...), or folders of '
        'them. To use another model than --model, put its config and checkpoint, or an .onnx file, before them',
    )
    parser.add_argument(
        '-o', '--out', type=Path, help='GeoTIFF to write, such as change.tif; for many scenes a folder'
    )
    parser.add_argument(
        '--list', type=Path, metavar='CSV', help='many scenes: table with columns before,after,output'
    )
    model = parser.add_argument_group('model')
    add_model_option(model)
    add_threshold_option(model)
    add_compute_options(model)
    add_cfg_options(model)
    add_tta_option(model)
    model.add_argument(
        '--tile',
        type=int,
        help='size of a tile in pixels [that of the training crops, or of the exported model]',
    )
    model.add_argument(
        '--overlap', type=int, help='overlap of tiles in pixels [a quarter, rounded up to a multiple of 32]'
    )
    model.add_argument('--batch', type=int, default=4, help='tiles per batch [4]')
    model.add_argument(
        '--threads', type=int, help='threads of an exported model [OMP_NUM_THREADS, else all cores]'
    )
    data = parser.add_argument_group('data')
    data.add_argument('--dates', nargs=2, metavar='NAME', help='names of the two dates [those of the files]')
    data.add_argument(
        '--float32', action='store_true', help='write probabilities as float32 [8 bits, 250 means 1]'
    )
    data.add_argument(
        '--polygons',
        choices=['gpkg', 'geojson', 'none'],
        default='gpkg',
        help='format of the polygons [gpkg]',
    )
    data.add_argument('--min-area', type=float, default=10, help='smallest polygon in square metres [10]')
    add_resample_option(data)
    add_reading_arguments(parser, 'as in training')
    parser.add_argument('--view', action='store_true', help='also write the page of hsonet view')
    many = parser.add_argument_group('many scenes')
    add_worker_options(many)


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet scene``; returns 0, or 1 if one of many scenes failed."""
    require_geo()
    from hsonet_mm.scenes.listing import find_scenes, read_list
    from hsonet_mm.scenes.record import SceneOptions

    resample = resample_of(args)  # first: it may have taken the place of a raster
    wanted = () if args.list else ('the raster before', 'the raster after')
    files, dates = split_model(args.arguments, args.model, wanted)
    if args.out is None and not args.list:
        raise UserError('no output: name it, as -o change.tif')
    check_positive('--batch', args.batch)
    if not 0 <= args.min_area < math.inf:
        raise UserError(f'invalid --min-area {args.min_area:g}: expected 0 or more square metres')
    options = SceneOptions(
        tile=args.tile,
        overlap=args.overlap,
        batch=args.batch,
        tta=tta_of(args),
        reading=reading_of(args),
        float32=args.float32,
        polygons=args.polygons,
        min_area=args.min_area,
        dates=tuple(args.dates) if args.dates else None,
        resample=resample,
    )
    gpus = gpus_of(args)
    device = 'cuda' if gpus else args.device
    model = ModelSpec(
        files,
        device or 'cpu',
        args.threshold,
        args.cfg_options,
        args.threads,
        args.precision,
        args.runtime,
    )
    if not args.list and not Path(dates[0]).is_dir():
        if args.workers not in (None, 1) or args.engine != 'local' or args.ray_address or len(gpus) > 1:
            raise UserError(
                '--workers, --engine, --ray-address and several --gpus are for folders and lists: a '
                'single scene runs in one process, on one GPU; leave them out'
            )
        if gpus:
            model = replace(model, device=f'cuda:{gpus[0]}')
        return _one(model, dates, options, args.out, args.view)
    if args.out is not None and args.out.is_file():
        raise UserError(f'{args.out} is a file: name a folder for the results of several scenes with -o')
    if args.list:
        scenes = read_list(args.list, args.out)
    else:
        if not Path(dates[1]).is_dir():
            raise UserError(f'{dates[0]} is a folder and {dates[1]} is not: give two rasters or two folders')
        scenes = find_scenes(Path(dates[0]), Path(dates[1]), args.out)
    return _many(args, model, scenes, options, gpus)


def require_geo() -> None:
    """Check that the packages for rasters are installed and work."""
    try:
        import cv2  # noqa: F401
        import pyogrio  # noqa: F401
        import rasterio  # noqa: F401
        import shapely  # noqa: F401
    except ImportError as error:
        package = OPENCV if error.name == 'cv2' else '"hsonet_mm[geo]"'
        raise UserError(f'scenes need {error.name}: pip install {package}') from None
    from hsonet_mm.images.ground import check_proj

    check_proj()


def _one(model: ModelSpec, dates: list[str], options: Any, out: Path, view: bool) -> int:
    from hsonet_mm.geo.headers import check_place
    from hsonet_mm.geo.places import find_raster
    from hsonet_mm.scenes.scene import detect_scene

    for date in dates:
        check_place(find_raster(date))  # before the model is loaded
    start = time.monotonic()
    result = detect_scene(
        model.load(), dates[0], dates[1], out, options, model.paths, progress=True, warn=warn
    )
    seconds = time.monotonic() - start
    summary = result.summary
    state = f'done in {seconds:.0f} s' if result.fresh else 'is up to date'
    print(
        f'{out} {state}: {_words(summary)} at threshold {threshold_text(summary["threshold"])} '
        f'({summary["threshold_source"]}){_gaps(summary)}'
    )
    if summary['resampled_to_m'] is not None:
        print(
            f'predicted at {summary["resampled_to_m"]:.3g} m on the ground, the pixels of the result are those of '
            f'{dates[0]} ({summary["ground_resolution_m"]:.3g} m)'
        )
    for date, stretch in zip(('before', 'after'), summary['stretch'], strict=True):
        if stretch != 'none':
            print(f'{summary[date]["file"]}: values {stretch} became 0 to 255')
    print('\n'.join(f'  {kind:9} {path}' for kind, path in result.files.items()))
    if view:
        from hsonet_mm.viewer.page import view_scene

        page = view_scene(out, before=dates[0], after=dates[1], progress=True).folder / 'index.html'
        print(f'  {"view":9} {page}')
    return 0


def _many(
    args: argparse.Namespace, model: ModelSpec, scenes: Any, options: Any, gpus: tuple[int, ...]
) -> int:
    from hsonet_mm.scenes.many import run_scenes

    check_worker_options(args)
    folder = args.out or args.list.parent
    failed, done, told = 0, list[Path](), set[str]()
    outcomes = run_scenes(model, scenes, options, folder, args.engine, args.workers, gpus, args.ray_address)
    with closing(outcomes):
        for number, outcome in enumerate(outcomes, 1):
            name = f'[{number}/{len(scenes)}] {outcome.scene.output}'
            if outcome.error:
                failed += 1
                print(f'{name}: failed: {outcome.error}', file=sys.stderr, flush=True)
            else:
                done.append(Path(outcome.scene.output))
                state = '' if outcome.fresh else ', up to date'
                print(f'{name}: {_words(outcome.summary)}{_gaps(outcome.summary)}{state}', flush=True)
                warn(text for text in outcome.summary['warnings'] if text not in told)
                told.update(outcome.summary['warnings'])
    print(f'{len(scenes) - failed} of {len(scenes)} scenes done' + (f', {failed} failed' if failed else ''))
    if args.view and done:
        from hsonet_mm.viewer.report import print_report

        failed += print_report(sorted(done), folder)
    return 1 if failed else 0


def _gaps(summary: dict[str, Any]) -> str:
    return without_data(summary['pixels'] - summary['valid_pixels'], summary['pixels'])


def _words(summary: dict[str, Any]) -> str:
    return (
        f'{summary["changed_share"]:.2%} of the pixels changed, {summary["changed_area_m2"]:,.0f} m2 '
        f'in {counted(summary["polygons"], "polygon")}'
    )
