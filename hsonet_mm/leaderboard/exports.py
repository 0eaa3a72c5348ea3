"""The tables of the report as Markdown and as CSV."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from hsonet_mm.leaderboard import object_table, wording
from hsonet_mm.leaderboard.board import Cell, Failure
from hsonet_mm.leaderboard.breakdown_table import BreakdownTable
from hsonet_mm.leaderboard.published import published_table
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.summary import COMPARED, COSTS, FIGURES, OBJECTS, Standing

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
                lines += [f'{_plain(name)}:', '', *_scores(rows, brief=index > 0), '']
            lines += [_plain(section['alike']), ''] if section['alike'] else []
            heads, objects = section['objects']
            lines += [f'Objects ({section["how"]}). {object_table.NOTE}', ''] if objects else []
            lines += [*_table(heads, objects), ''] if objects else []
            lines += ['Cost:', '', *_costs(section['rows']), ''] if section['home'] else []
            lines += [f'Where the methods fail ({section["how"]}):', ''] if section['breakdown'] else []
            for table in section['breakdown']:
                lines += [f'{_plain(table.title)}. {_plain(table.legend)}', '', *_breakdown(table), '']
        lines += [f'No run yet: trained on {_plain(name)}.\n' for name in block['pending']]
    if failures:
        lines += ['## Failed runs', '']
        lines += [f'- {_plain(" / ".join(map(str, one.run)))}: {_plain(one.sentence)}' for one in failures]
        lines.append('')
    lines += _published(published_table(spec, [one for block in blocks for one in block['sections']]))
    return '\n'.join(lines)


def _scores(rows: Iterable[Standing], brief: bool) -> list[str]:
    """One table; a brief one is without the rows that have no figures."""
    heads = ['method', 'weights', 'seeds', 'P', 'R', 'F1', 'IoU', 'OA', 'kappa', 'threshold']
    heads += ['difference', '95 % over images', '95 % over seeds', 'verdict', 'test scored']
    lines = []
    for row in (row for row in rows if row.figures or not brief):
        cells = [row.method, row.weights or wording.NONE, wording.seeds(row)]
        cells += [wording.percent(row.figures.get(name)) for name in FIGURES]
        cells += [wording.quantity(row.figures.get('threshold'), 1, 3), wording.difference(row)]
        cells += [wording.interval(row.comparison, kind) for kind in ('images', 'seeds')]
        lines.append([*cells, row.comparison.verdict if row.comparison else '', wording.test_scored(row)])
    return _table(heads, lines)


def _costs(rows: Iterable[Standing]) -> list[str]:
    lines = [
        [row.method, *wording.costs(row), row.timed_on or wording.NONE, row.device or wording.NONE]
        for row in rows
        if row.figures
    ]
    return _table(['method', *wording.COSTS, 'timed on', 'device'], lines)


def _breakdown(table: BreakdownTable) -> list[str]:
    """One table of failures; the second figure of a cell stands in brackets."""
    heads = [f'{group} ({amount})' if amount else group for group, amount in table.groups]
    lines = [
        [method, *(f'{text} ({small})' if small else text for text, small in map(table.texts, shares))]
        for method, shares in table.rows
    ]
    return _table(['method', *(head.replace('_', ' ') for head in heads)], lines)


def _published(found: Mapping[str, Any]) -> list[str]:
    """The published figures beside ours, with their numbered notes."""
    heads = ['method', 'name', *(f'here: {head}' for head in found['heads']), *found['data_sets']]
    lines = [
        [method, name, *(wording.percent(value) if value else '' for value in ours)]
        + [f'{text} ({note})' if note else text for text, note in cells]
        for method, name, ours, cells in found['rows']
    ]
    notes = [f'{number}. {_plain(note)}' for number, note in enumerate(found['notes'], 1)]
    title = ['## Published figures beside ours', '', f'**{wording.PUBLISHED[0]}** {wording.PUBLISHED[1]}']
    return [*title, '', *_table(heads, lines), '', *notes, '']


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A table whose text is plain."""
    cells = (f'| {" | ".join(map(_plain, line))} |' for line in (heads, *lines))
    return [next(cells), '|' + '---|' * len(heads), *cells]


def _plain(text: str) -> str:
    """Text that Markdown takes as it is, on one line."""
    for mark in ('\\', '|', '`', '*', '_', '<', '['):
        text = text.replace(mark, f'\\{mark}')
    return ' '.join(text.split())


def table_csv(tables: Mapping[Cell, Sequence[Standing]]) -> str:
    """All rows of all tables; figures, differences and intervals are fractions, the seeds numbers of them."""
    rows = [row for rows in tables.values() for row in rows]
    matched = any('object_ap' in row.figures for row in rows)
    names = (*FIGURES, *(OBJECTS if matched else ()), 'threshold', *COSTS)
    figures = [f'{name}_{part}' for name in names for part in ('mean', 'std')]
    ends = [f'{kind}_{end}' for kind in ('images', 'seeds') for end in ('low', 'high')]
    gap = ['difference', 'share_above', 'images', 'verdict']
    columns = [*Cell._fields, 'method', 'weights', 'planned', 'seeds', 'failed', *figures, 'reference', *gap]
    columns += [*ends, 'common_seeds', 'timed_on', 'scorings']
    columns += [f'{figure}_{name}' for figure in COMPARED for name in (*gap, *ends)] if matched else []
    lines = []
    for row in rows:
        known: dict[str, Any] = {
            **row.cell._asdict(),
            'method': row.method,
            'weights': row.weights,
            'planned': row.planned,
            'seeds': len(row.seeds),
            'failed': len(row.failed),
            'reference': int(row.is_reference),
            'timed_on': row.timed_on,
            'scorings': row.scorings,
        }
        for name, (mean, std) in (row.figures | row.costs).items():
            known |= {f'{name}_mean': mean, f'{name}_std': std}
        if row.comparison:
            known['common_seeds'] = len(row.comparison.seeds)
        for prefix, one in {'': row.comparison, **row.object_comparisons}.items():
            if one:
                values = [getattr(one, name) for name in gap]
                values += [end for pair in (one.over_images, one.over_seeds) for end in pair or (None, None)]
                heads = (f'{prefix}_{name}' if prefix else name for name in (*gap, *ends))
                known |= zip(heads, values, strict=True)
        lines.append(known)
    return str(pd.DataFrame(lines, columns=columns, dtype=object).to_csv(index=False, lineterminator='\n'))
