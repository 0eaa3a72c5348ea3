"""The tables of the report as one CSV."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hsonet_mm.leaderboard.board import Cell
from hsonet_mm.leaderboard.summary import COMPARED, COSTS, FIGURES, OBJECTS, Standing

__all__ = ['summary_csv']


def summary_csv(tables: Mapping[Cell, Sequence[Standing]]) -> str:
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
