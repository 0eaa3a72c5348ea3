"""The tables of the report as Markdown and as CSV."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.board import Cell, Failure
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.summary import COSTS, FIGURES, Standing

__all__ = ['markdown', 'table_csv']


def markdown(
    spec: Spec,
    facts: Sequence[tuple[str, str]],
    blocks: Sequence[Mapping[str, Any]],
    failures: Sequence[Failure],
) -> str:
    """The tables of the page as Markdown, with what it takes to understand them.

    Args:
        spec: Names the title.
        facts: What the figures come from, as name and value.
        blocks: As the page shows them.
        failures: Runs without figures.
    """
    lines = [f'# {_plain(spec.title)}', '', *(f'- {name}: {_plain(value)}' for name, value in facts), '']
    lines += ['Class "changed", percent, mean ± sample standard deviation over seeds. ' + wording.APART, '']
    lines += [f'Difference: {wording.COVERED[0].lower()}{wording.COVERED[1:]}', '', wording.CHOSEN, '']
    for block in blocks:
        lines += [f'## Block: {_plain(block["name"])} (reference {_plain(block["reference"])})', '']
        for section in block['sections']:
            lines += [f'### {_plain(section["where"])}', '', _plain(section['said']), '']
            lines += [line for note in section['warnings'] for line in (f'**{_plain(note)}**', '')]
            for index, (name, rows, _) in enumerate(section['tables']):
                lines += [f'{_plain(name)}:', '', *_markdown_table(rows, brief=index > 0), '']
            lines += [_plain(section['alike']), ''] if section['alike'] else []
        lines += [f'No run yet: trained on {_plain(name)}.\n' for name in block['pending']]
    if failures:
        lines += ['## Failed runs', '']
        lines += [f'- {_plain(" / ".join(map(str, one.run)))}: {_plain(one.sentence)}' for one in failures]
        lines.append('')
    return '\n'.join(lines)


def _markdown_table(rows: Iterable[Standing], brief: bool) -> list[str]:
    """One table; a brief one is without the costs, which are those of another, and without the empty rows."""
    heads = ['method', 'weights', 'seeds', 'P', 'R', 'F1', 'IoU', 'OA', 'kappa', 'threshold']
    heads += ['difference', '95 % over images', '95 % over trainings', 'verdict']
    heads += ['M parameters', 'GMACs', 'latency ms', 'timed on', 'test scored'] if not brief else []
    lines = [f'| {" | ".join(heads)} |', '|' + '---|' * len(heads)]
    for row in (row for row in rows if row.figures or not brief):
        cells = [row.method, row.weights or wording.NONE, wording.seeds(row)]
        cells += [wording.percent(row.figures.get(name)) for name in FIGURES]
        cells += [wording.quantity(row.figures.get('threshold'), 1, 3), wording.difference(row)]
        cells += [wording.interval(row.comparison, kind) for kind in ('images', 'trainings')]
        cells += [row.comparison.verdict if row.comparison else '']
        if not brief:
            cells += [wording.mean(row, 'parameters', 1e-6, 2), wording.mean(row, 'macs', 1e-9, 2)]
            cells += [wording.mean(row, 'latency_ms'), ', '.join(row.timed_on), wording.test_scored(row)]
        lines.append(f'| {" | ".join(map(_plain, cells))} |')
    return lines


def _plain(text: str) -> str:
    """Text that Markdown takes as it is, on one line."""
    for mark in ('\\', '|', '`', '*', '_', '<', '['):
        text = text.replace(mark, f'\\{mark}')
    return ' '.join(text.split())


def table_csv(tables: Mapping[Cell, Sequence[Standing]]) -> str:
    """All rows of all tables; figures, differences and intervals are fractions, the seeds numbers of them."""
    figures = [f'{name}_{part}' for name in (*FIGURES, 'threshold', *COSTS) for part in ('mean', 'std')]
    ends = [f'{kind}_{end}' for kind in ('images', 'trainings') for end in ('low', 'high')]
    gap = ['difference', 'share_above', 'images', 'verdict']
    columns = [*Cell._fields, 'method', 'weights', 'planned', 'seeds', 'failed', *figures, 'reference', *gap]
    columns += [*ends, 'common_seeds', 'timed_on', 'scorings']
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval='', lineterminator='\n')
    writer.writeheader()
    for row in (row for rows in tables.values() for row in rows):
        known: dict[str, Any] = {
            **row.cell._asdict(),
            'method': row.method,
            'weights': row.weights,
            'planned': row.planned,
            'seeds': len(row.seeds),
            'failed': len(row.failed),
            'reference': int(row.is_reference),
            'timed_on': ', '.join(row.timed_on),
            'scorings': row.scorings,
        }
        for name, (mean, std) in (row.figures | row.costs).items():
            known |= {f'{name}_mean': mean, f'{name}_std': std}
        if row.comparison:
            known |= {name: getattr(row.comparison, name) for name in gap}
            known['common_seeds'] = len(row.comparison.seeds)
            pairs = (row.comparison.over_images, row.comparison.over_trainings)
            known |= zip(ends, (end for pair in pairs for end in pair or (None, None)), strict=True)
        writer.writerow({name: '' if _empty(value) else value for name, value in known.items()})
    return buffer.getvalue()


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
