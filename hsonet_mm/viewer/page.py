"""The page of one scene: both dates to compare, changes at any threshold, polygons."""

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.geo.areas import PixelAreas
from hsonet_mm.geo.change_map import PROBS_NODATA, PROBS_SCALE
from hsonet_mm.geo.environment import limited_cache
from hsonet_mm.geo.headers import file_state
from hsonet_mm.geo.places import find_raster
from hsonet_mm.pages import encode, reduced, render
from hsonet_mm.progress import progress_bar
from hsonet_mm.texts import counted, threshold_text
from hsonet_mm.version import __version__
from hsonet_mm.viewer.folders import MARK, replaced_folder
from hsonet_mm.viewer.outlines import write_outlines
from hsonet_mm.viewer.pyramid import QUALITY, TILE, Pyramid
from hsonet_mm.viewer.source import SceneSource, open_source

__all__ = ['COLOUR', 'ScenePage', 'asset', 'view_scene']

COLOUR = (255, 64, 32)
"""RGB of what changed; the page has it from here."""

STRENGTH = 0.6
SIDE = 384
"""Longest side of the small picture of the changes, in pixels."""


@dataclass(frozen=True)
class ScenePage:
    """The page of a scene and its thumbnails; ``fresh`` if written now."""

    folder: Path
    summary: Mapping[str, Any]
    thumbnails: tuple[str, str, str]
    fresh: bool


def view_scene(
    path: str | Path,
    out: str | Path | None = None,
    before: str | Path | None = None,
    after: str | Path | None = None,
    progress: bool = False,
) -> ScenePage:
    """Write the page of a scene; memory does not depend on its size.

    The page compares probabilities in 8 bits, as most scenes store them. So at the threshold of the scene the pixels
    that are within 1/500 of it may differ from the mask. ``before`` and ``after`` say where the dates are now, if they
    were moved. By default the folder is ``<name>_view`` beside the result; an earlier view is replaced, if it is not up
    to date.

    Raises:
        UserError: if something is missing, does not fit or cannot be written; an earlier view stays then.
    """
    path = Path(path)
    folder = path.with_name(f'{path.stem}_view') if out is None else Path(os.path.abspath(out))  # noqa: PTH100
    with limited_cache():
        source = open_source(path, *(None if date is None else find_raster(date) for date in (before, after)))
        try:
            pyramid = Pyramid(source.read, source.pair.height, source.pair.width, folder)
            thumbnails = _thumbnails(pyramid)
            key = _key(source)
            if _up_to_date(folder, key):
                return ScenePage(folder, source.summary, thumbnails, fresh=False)
            with replaced_folder(folder) as part:
                _write(source, part, key, progress)
                source.pair.check_unchanged()
        finally:
            source.pair.close()
    return ScenePage(folder, source.summary, thumbnails, fresh=True)


ASSETS = ('viewer.html.j2', 'viewer.css', 'viewer.js', 'tiles.js', 'polygons.js')


def asset(name: str) -> str:
    """A file of this package that goes into pages."""
    return Path(__file__).with_name(name).read_text(encoding='utf-8')


def _thumbnails(pyramid: Pyramid) -> tuple[str, str, str]:
    top = len(pyramid.levels) - 1
    return f'tiles/before/{top}/0_0.jpg', f'tiles/after/{top}/0_0.jpg', 'change.jpg'


def _key(source: SceneSource) -> dict[str, Any]:
    """Everything that determines the page."""
    pair = source.pair
    files = [source.path, source.path.with_suffix('.json'), *pair.t1.files, *pair.t2.files]
    files += [source.polygons] if source.polygons else []
    assets = [asset(name) for name in ASSETS]
    return {
        'hsonet_mm': __version__,
        'page': zlib.crc32(''.join(assets).encode()),
        'files': [[str(file.resolve()), *file_state(file)] for file in files],
    }


def _up_to_date(folder: Path, key: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads((folder / MARK).read_text(encoding='utf-8')) == key)
    except (OSError, ValueError):
        return False


def _write(source: SceneSource, folder: Path, key: Mapping[str, Any], progress: bool) -> None:
    pair = source.pair
    pyramid = Pyramid(source.read, pair.height, pair.width, folder / 'tiles')
    megapixels = pair.height * pair.width / len(pyramid) / 1e6
    with progress_bar('tiles', len(pyramid), 0, megapixels, progress) as advance:
        pyramid.build(advance)
    if not pyramid.written[-1].all():
        raise UserError(f'{source.path} contains only nodata: give a result with valid pixels')
    change = pyramid.top[..., 6]
    dots = (change != PROBS_NODATA) & (change > source.summary['threshold'] * PROBS_SCALE)
    step = 1 << (len(pyramid.levels) - 1)

    def mark(corners: NDArray[np.int64]) -> None:
        """Draw marks in the thumbnail for regions too small to be visible."""
        limits = np.array(dots.shape) - 1
        rows, columns = np.clip(corners[:, ::-1] // step, 0, limits).T
        dots[rows, columns] = True

    scripts = 0
    if source.polygons is not None:
        scripts = write_outlines(source.polygons, folder / 'polygons', pair.t1.crs, pair.t1.transform, mark)
    picture = pyramid.top[..., 3:6].copy()
    picture[dots] = (1 - STRENGTH) * picture[dots] + STRENGTH * np.array(COLOUR[::-1])
    (folder / 'change.jpg').write_bytes(encode(reduced(picture, SIDE), '.jpg', QUALITY))
    page = _page(source, pyramid, scripts)
    (folder / 'index.html').write_text(page, encoding='utf-8')
    (folder / MARK).write_text(json.dumps(key, indent=1) + '\n', encoding='utf-8')


def _page(source: SceneSource, pyramid: Pyramid, scripts: int) -> str:
    summary, info = source.summary, source.pair.t1
    names = summary['before']['name'], summary['after']['name']
    areas = PixelAreas(info.crs, info.transform, info.width, info.height)
    scene = {
        'names': names,
        'width': info.width,
        'height': info.height,
        'tile': TILE,
        'levels': [
            {'rows': level.rows, 'columns': level.columns, 'width': level.width, 'height': level.height}
            | {'written': ''.join('01'[int(tile)] for tile in tiles.ravel())}
            for level, tiles in zip(pyramid.levels, pyramid.written, strict=True)
        ],
        'threshold': summary['threshold'],
        'scale': PROBS_SCALE,
        'nodata': PROBS_NODATA,
        'colour': COLOUR,
        'polygonScripts': scripts,
        'transform': list(info.transform[:6]),
        'crs': info.crs.to_string() if info.crs.to_epsg() else '',
        'digits': 6 if info.crs.is_geographic else 1,
        'metres': areas.step,
    }
    facts = [
        f'{summary["changed_share"]:.2%} changed',
        f'{summary["changed_area_m2"]:,.0f} m²',
        counted(summary['polygons'], 'polygon'),
        f'{summary["model"]} at threshold {threshold_text(summary["threshold"])}',
    ]
    return render(
        'viewer/viewer.html.j2',
        names=names,
        facts=facts,
        details=_details(source),
        outlines=scripts,
        smallest=f'{summary["min_area_m2"]:g}',
        colour='rgb({} {} {})'.format(*COLOUR),
        css=asset('viewer.css'),
        script='\n'.join(asset(name) for name in ASSETS if name.endswith('.js')),
        scene=json.dumps(scene, separators=(',', ':')).replace('<', '\\u003c'),
    )


def _details(source: SceneSource) -> Iterable[tuple[str, str]]:
    """Details of the result."""
    summary, info = source.summary, source.pair.t1
    yield 'Result', source.path.name
    yield 'Before', Path(summary['before']['file']).name
    resampled = ', resampled onto the grid of the first date' if summary['after'].get('resampled') else ''
    yield 'After', Path(summary['after']['file']).name + resampled
    yield 'Model', str(summary['model'])
    yield 'Threshold', f'{threshold_text(summary["threshold"])} ({summary.get("threshold_source", "given")})'
    yield 'Size', f'{info.width:,} x {info.height:,} pixels'
    yield 'Reference system', info.crs.to_string()[:60]
    for date, stretch in zip(('before', 'after'), summary.get('stretch', ()), strict=False):
        if stretch != 'none':
            yield f'Values {date}', f'{stretch} became black and white'
    if left_out := summary.get('polygons_left_out'):
        yield 'Without polygon', f'{left_out:,} changes below {summary["min_area_m2"]:g} m²'
    versions = summary.get('versions', {})
    yield 'Versions', ', '.join(f'{name} {version}' for name, version in versions.items())
