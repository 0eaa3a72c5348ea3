"""The tables of the report as Markdown and as CSV."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.board import Cell, Records
from hsonet_mm.leaderboard.bootstrap import RESAMPLES
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.summary import COSTS, FIGURES, Row

__all__ = ['APART', 'markdown', 'table_csv']

APART = (
    'Rows with ImageNet weights and rows from scratch stand in different blocks and are never compared: '
    'pre-training alone is worth several points.'
)


def markdown(spec: Spec, records: Records, blocks: Sequence[Mapping[str, Any]]) -> str:
    """The tables of the page as Markdown."""
    lines = [
        f'# {_plain(spec.title)}',
        '',
        'Class "changed", percent, mean ± sample standard deviation over seeds.',
    ]
    lines += [
        'Difference: points of F1 to the reference of the block, with the 95 % interval of a paired bootstrap'
    ]
    lines += [
        f'over the test images ({RESAMPLES:,} resamples); "decided" means that it leaves out 0. {APART}',
        '',
    ]
    for block in blocks:
        lines += [f'## Block: {_plain(block["name"])} (reference {_plain(block["reference"])})', '']
        if not block['sections']:
            lines += ['No run yet.', '']
        for section in block['sections']:
            lines += [
                f'### {_plain(section["where"])}',
                '',
                _plain(section['said']),
                '',
            ]
            for name, rows, _ in section['tables']:
                lines += [f'{_plain(name)}:', '', *_markdown_table(rows), '']
    if records.failures:
        lines += ['## Failed runs', '']
        lines += [
            f'- {_plain(" / ".join(map(str, one.run)))}: {_plain(one.sentence)}' for one in records.failures
        ]
        lines.append('')
    return '\n'.join(lines)


def _markdown_table(rows: Iterable[Row]) -> list[str]:
    heads = [
        'method',
        'weights',
        'seeds',
        *('P', 'R', 'F1', 'IoU', 'OA', 'kappa'),
        'difference',
        '95 % interval',
    ]
    heads += ['verdict', 'M parameters', 'GMACs', 'latency ms', 'test scored']
    lines = [f'| {" | ".join(heads)} |', '|' + '---|' * len(heads)]
    for row in rows:
        gap = row.comparison
        cells = [row.method, row.weights or wording.NONE, wording.seeds(row)]
        cells += [wording.percent(row.figures.get(name)) for name in FIGURES]
        cells += ['reference' if row.is_reference else wording.NONE, '', ''] if gap is None else [
            wording.difference(gap), wording.interval(gap), gap.verdict,
        ]  # fmt: skip
        cells += [
            wording.mean(row, 'parameters', 1e-6, 2),
            wording.mean(row, 'macs', 1e-9, 2),
            wording.mean(row, 'latency_ms', 1, 1),
        ]
        cells.append(f'{row.scorings} x')
        lines.append(f'| {" | ".join(map(_plain, cells))} |')
    return lines


def _plain(text: str) -> str:
    """Text that Markdown takes as it is, on one line."""
    for mark in ('\\', '|', '`', '*', '_', '<', '['):
        text = text.replace(mark, f'\\{mark}')
    return ' '.join(text.split())


def table_csv(tables: Mapping[Cell, Sequence[Row]]) -> str:
    """All rows of all tables; figures, differences and intervals are fractions, ``seeds`` and ``failed`` numbers."""
    figures = [f'{name}_{part}' for name in (*FIGURES, 'threshold', *COSTS) for part in ('mean', 'std')]
    gap = ['difference', 'low', 'high', 'share_above', 'images', 'verdict']
    columns = [*Cell._fields, 'method', 'weights', 'seeds', 'failed', *figures, 'reference', *gap, 'scorings']
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval='', lineterminator='\n')
    writer.writeheader()
    for row in (row for rows in tables.values() for row in rows):
        known: dict[str, Any] = {
            **row.cell._asdict(),
            'method': row.method,
            'weights': row.weights,
            'seeds': len(row.seeds),
            'failed': len(row.failed),
            'reference': int(row.is_reference),
            'scorings': row.scorings,
        }
        for name, (mean, std) in (row.figures | row.costs).items():
            known |= {f'{name}_mean': mean, f'{name}_std': std}
        if row.comparison:
            known |= {name: getattr(row.comparison, name) for name in gap}
        writer.writerow({name: '' if _empty(value) else value for name, value in known.items()})
    return buffer.getvalue()


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
