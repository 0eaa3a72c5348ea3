"""Tables of errors by kind of hard case, by object size and by distance to the boundary."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from hsonet_mm.evaluation.object_report import PRECISION
from hsonet_mm.leaderboard.board import Records, numbers, rows_of
from hsonet_mm.leaderboard.wording import NONE, which_seeds

__all__ = ['BreakdownTable', 'Share', 'breakdown_tables']


@dataclass(frozen=True)
class Share:
    """One cell: a share or number of regions, its bar, the share of pixels (NaN without); whether none is better."""

    value: float
    bar: float
    pixels: float
    best: bool


@dataclass(frozen=True)
class BreakdownTable:
    """One kind of groups, on one side of the label.

    It is ``counted`` where cells are numbers and not shares; groups have a name and a size in words; rows are a method,
    with its seeds where some are missing, and its shares.
    """

    title: str
    note: str
    changed: bool
    counted: bool
    groups: list[tuple[str, str]]
    rows: list[tuple[str, list[Share]]]

    def texts(self, share: Share) -> tuple[str, str]:
        """A cell: its value, in percent if it is a share, a dash if there is none; the pixels in percent, if any."""
        value = (
            NONE if math.isnan(share.value) else f'{share.value if self.counted else 100 * share.value:.1f}'
        )
        return value, '' if math.isnan(share.pixels) else f'{100 * share.pixels:.1f}'

    @property
    def legend(self) -> str:
        """How to read its cells."""
        second = any(not math.isnan(share.pixels) for _, shares in self.rows for share in shares)
        return f'{self.note} Second figure: share of the pixels.' if second else self.note


SUMMED = ['objects', 'pixels', 'called', 'hits']
PRECISE = f'Objects of low probability are dropped until the precision of all is {PRECISION:.0%}; 0 where it never is.'
TABLES = (
    ('hard_case', True, 'Changes by kind: objects found', 'An object is found if half of its pixels are.'),
    (
        'hard_case', False, 'Unchanged objects by kind: false alarms',
        'A false alarm: a tenth of its pixels are predicted as changed. Background is the rest of an image.',
    ),
    (
        'size', True, 'Changes by area in pixels: objects found',
        'An object is a connected region of the label, found if half of its pixels are.',
    ),
    (
        'size', False, 'False alarms by area in pixels: number of regions',
        'Connected regions predicted as changed, mean number over the seeds. Regions that touch a change do not count, '
        'so a small number may also mean that nearly everything is predicted as changed.',
    ),
    (
        'matched_hard_case', True, 'Changes by kind: objects matched',
        'Found where the intersection over union with a predicted object exceeds 0.5.',
    ),
    ('precise_hard_case', True, 'Changes by kind: objects matched at equal precision', PRECISE),
    ('matched_size', True, 'Changes by area in pixels: objects matched', 'As by kind.'),
    ('precise_size', True, 'Changes by area in pixels: objects matched at equal precision', PRECISE),
    (
        'matched_hard_case', False, 'Predicted objects without a match, by what they cover most: number',
        'Mean number over the seeds. On a kind of change: its outline is wrong, or several changes were merged.',
    ),
    (
        'matched_size', False, 'Predicted objects without a match, by area in pixels: number',
        'Mean number over the seeds.',
    ),
    (
        'boundary', True, 'Changed pixels by distance to the boundary: found',
        'Distance in pixels to the nearest unchanged one: shows how well outlines are met.',
    ),
    (
        'boundary', False, 'Unchanged pixels by distance to the boundary: predicted as changed',
        'Distance in pixels to the nearest changed one; from 16 on, false alarms are far from any change.',
    ),
)  # fmt: skip


def breakdown_tables(
    records: Records, methods: Mapping[str, Iterable[int]], threshold_rule: str
) -> list[BreakdownTable]:
    """All tables of one block, data set and test set; kinds without a record are left out.

    Rows are the methods, each with the seeds that were scored, in this order; those without a record are left out.
    """
    mine = rows_of(records.breakdown, threshold_rule=threshold_rule)
    mine = mine.assign(**{name: numbers(mine[name]) for name in SUMMED})
    tables = []
    for kind, changed, title, note in TABLES:
        rows = rows_of(mine, kind=kind, changed=str(int(changed)))
        filled = set(rows.loc[rows['pixels'] > 0, 'group'])
        groups = [group for group in rows['group'].unique() if group in filled]
        names = [name for name in methods if name in set(rows['method'])]
        if not groups or not names:
            continue
        counted = not changed and kind in ('size', 'matched_size', 'matched_hard_case')
        cells = rows.groupby(['method', 'group'])
        sums = cells[SUMMED].sum(min_count=1).assign(seeds=cells['seed'].nunique())
        sums = sums.reindex(pd.MultiIndex.from_product([names, groups]))
        called = sums['called'] / sums['pixels'].where(sums['pixels'] > 0)
        if counted:
            column = sums['objects'].fillna(0) / sums['seeds']
        else:
            column = (sums['hits'] / sums['objects']).where(sums['objects'] > 0, called)
        matched = kind.startswith(('matched', 'precise'))
        beside = called.where((sums['objects'] > 0) & (not counted) & (not matched))
        values, pixels = (one.unstack().reindex(index=names, columns=groups) for one in (column, beside))
        shown = values.round(3)  # what is shown alike is alike
        best = shown.eq(shown.max() if changed else shown.min()) & (shown.count() > 1) & (not counted)
        bars = ((values / values.max().replace(0, 1)) if counted else values).fillna(0)
        lines = []
        for name in names:
            seeds = set(rows_of(rows, method=name)['seed'])
            head = name if seeds >= set(methods[name]) else f'{name} ({which_seeds(seeds)})'
            columns = (table.loc[name].tolist() for table in (values, bars, pixels, best))
            lines.append((head, [Share(*cell) for cell in zip(*columns, strict=True)]))
        sizes = sums.groupby(level=1).first()
        heads = [(group, '' if counted else _amount(sizes.loc[group])) for group in groups]
        tables.append(BreakdownTable(title, note, changed, counted, heads, lines))
    return tables


def _amount(sums: pd.Series) -> str:
    """Size of a group of the label, the same for all methods."""
    if math.isnan(sums['objects']):
        return f'{int(sums["pixels"] // sums["seeds"]):,} px'
    objects = int(sums['objects'] // sums['seeds'])
    return f'{objects:,} object{"" if objects == 1 else "s"}'
