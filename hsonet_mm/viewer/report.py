"""Overview page of many scenes: a table with thumbnails, whose rows link to the pages of the scenes."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsonet_mm.errors import UserError
from hsonet_mm.files import write_text
from hsonet_mm.pages import render
from hsonet_mm.viewer.folders import check_target
from hsonet_mm.viewer.page import ScenePage, view_scene
from hsonet_mm.viewer.source import SUFFIXES, read_summary

__all__ = ['Row', 'find_results', 'print_report', 'view_scenes']

MARK = 'report.json'
"""A file by which a folder of ours is known; others are left alone."""


@dataclass(frozen=True)
class Row:
    """A scene of the report: its probabilities, and its page or why there is none."""

    path: Path
    view: ScenePage | None = None
    error: str = ''


def find_results(folder: Path) -> list[Path]:
    """The results of ``hsonet scene`` in a folder and the folders in it."""
    results = list[Path]()
    for path in sorted(folder.rglob('*')):
        if path.suffix.lower() in SUFFIXES and path.with_suffix('.json').is_file():
            try:
                read_summary(path)
            except UserError:
                continue
            results.append(path)
    if not results:
        raise UserError(f'{folder} contains no results of hsonet scene: give a folder that it wrote to')
    return results


def print_report(results: Sequence[Path], folder: Path, out: Path | None = None) -> int:
    """Write the report, by default to ``<folder>_view``, and print its outcome; returns how many scenes fail."""
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 (a link keeps its name, "." gets one)
    out = out or folder.with_name(f'{folder.name}_view')
    rows = list[Row]()
    for row in view_scenes(results, folder, out):
        rows.append(row)
        name = f'[{len(rows)}/{len(results)}] {row.path}'
        if row.view is None:
            print(f'{name}: no view: {row.error}', file=sys.stderr, flush=True)
        else:
            print(f'{name}: {"view written" if row.view.fresh else "view is up to date"}', flush=True)
    failed = sum(row.view is None for row in rows)
    print(f'{out / "index.html"}: {len(rows) - failed} of {len(rows)} scenes')
    return failed


def view_scenes(results: Sequence[Path], folder: Path, out: Path) -> Iterator[Row]:
    """Write the pages of scenes and then their overview.

    A scene that cannot be shown is in the table with the reason. Scenes whose pages are up to date are skipped.
    """
    check_target(out, MARK, 'report')
    write_text(out / MARK, '{}\n')
    rows, used = list[Row](), set[str]()
    for path in results:
        name = _name(path, folder, used)
        try:
            row = Row(path, view_scene(path, out / name))
        except UserError as error:
            row = Row(path, error=str(error))
        rows.append(row)
        yield row
    write_text(out / 'index.html', _page(rows, folder))


def _name(path: Path, folder: Path, used: set[str]) -> str:
    """A unique name for the page of a scene."""
    path = Path(os.path.abspath(path))  # noqa: PTH100
    inside = path.is_relative_to(folder)
    stem = '-'.join(path.relative_to(folder).with_suffix('').parts) if inside else path.stem
    name, number = stem, 1
    while name in used:
        number += 1
        name = f'{stem}-{number}'
    used.add(name)
    return name


def _page(rows: Sequence[Row], folder: Path) -> str:
    views = [row.view.summary for row in rows if row.view]
    area = sum(summary['changed_area_m2'] for summary in views)
    changed = sum(summary['changed_pixels'] for summary in views)
    share = changed / max(1, sum(summary['valid_pixels'] for summary in views))
    facts = [f'{len(views)} scenes', f'{area:,.0f} m² changed', f'{share:.2%} of all valid pixels']
    facts += [f'{len(rows) - len(views)} cannot be shown'] if len(views) < len(rows) else []
    return render('viewer/report.html.j2', title=folder.name, facts=facts, rows=rows)
