"""Where every method fails, as tables: by kind of hard case, by object size, by distance to the boundary."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hsonet_mm.evaluation.object_report import PRECISION
from hsonet_mm.leaderboard.board import Records
from hsonet_mm.leaderboard.records import Row
from hsonet_mm.leaderboard.wording import NONE, which_seeds

__all__ = ['BreakdownTable', 'Share', 'breakdown_tables']


@dataclass(frozen=True)
class Share:
    """One cell of a table.

    Attributes:
        value: Share in [0, 1], or the number of regions; None if there is nothing to take a share of.
        bar: Length of its bar in [0, 1].
        pixels: Share of the pixels that are called changed, where ``value`` counts objects.
        best: Whether no other method is better; never of a number of regions, where fewer need not be better.
    """

    value: float | None
    bar: float
    pixels: float | None
    best: bool


@dataclass(frozen=True)
class BreakdownTable:
    """One kind of groups, on one side of the label.

    Attributes:
        title: What is counted.
        note: How to read it.
        changed: Whether much is good: the groups are changes.
        counted: Whether the cells are numbers and not shares.
        groups: Name of every group, and its size in words.
        rows: Method, with its seeds where some are missing, and its shares, in the order of the groups.
    """

    title: str
    note: str
    changed: bool
    counted: bool
    groups: list[tuple[str, str]]
    rows: list[tuple[str, list[Share]]]

    def texts(self, share: Share) -> tuple[str, str]:
        """A cell: its value, in percent if it is a share, a dash if there is none; the pixels in percent, if any."""
        value = NONE if share.value is None else f'{share.value if self.counted else 100 * share.value:.1f}'
        return value, '' if share.pixels is None else f'{100 * share.pixels:.1f}'

    @property
    def legend(self) -> str:
        """How to read its cells."""
        second = any(share.pixels is not None for _, shares in self.rows for share in shares)
        return f'{self.note} Second figure: share of the pixels.' if second else self.note


PRECISE = f'Objects of low probability are dropped until the precision of all is {PRECISION:.0%}; 0 where it never is.'
TABLES = (
    ('hard_case', True, 'Changes by kind: objects found', 'An object is found when half of its pixels are.'),
    (
        'hard_case', False, 'No changes by kind: mistaken for a change',
        'An object counts when a tenth of its pixels is called changed; background is the rest of an image.',
    ),
    (
        'size', True, 'Changes by area in pixels: objects found',
        'An object is a connected region of the label, found when half of its pixels are.',
    ),
    (
        'size', False, 'False alarms by area in pixels: how many regions',
        'Connected regions called changed, the mean number over the seeds. Those that touch a change are not counted: '
        'few may also mean that nearly everything is called changed.',
    ),
    (
        'matched_hard_case', True, 'Changes by kind: objects matched',
        'Found where the intersection over union with a predicted object exceeds 0.5.',
    ),
    ('precise_hard_case', True, 'Changes by kind: objects matched at equal precision', PRECISE),
    ('matched_size', True, 'Changes by area in pixels: objects matched', 'As by kind.'),
    ('precise_size', True, 'Changes by area in pixels: objects matched at equal precision', PRECISE),
    (
        'matched_hard_case', False, 'Predicted objects that match none, by what they cover most of: how many',
        'The mean number over the seeds. On a kind of change: its outline is wrong, or several became one.',
    ),
    (
        'matched_size', False, 'Predicted objects that match none, by area in pixels: how many',
        'The mean number over the seeds.',
    ),
    (
        'boundary', True, 'Changed pixels by distance to the boundary: found',
        'In pixels to the nearest unchanged one: how well outlines are met.',
    ),
    (
        'boundary', False, 'Unchanged pixels by distance to the boundary: called changed',
        'In pixels to the nearest changed one; from 16 on they are false alarms in the open.',
    ),
)  # fmt: skip


def breakdown_tables(
    records: Records, methods: Mapping[str, Iterable[int]], threshold_rule: str
) -> list[BreakdownTable]:
    """All tables of one block, data set and test set; kinds without a record are left out.

    Args:
        records: Of that block, data set and test set.
        methods: The rows, in this order, and the seeds of each that were scored; those without a record are left out.
        threshold_rule: At which threshold.
    """
    mine = [row for row in records.breakdown if row['threshold_rule'] == threshold_rule]
    tables = []
    for kind, changed, title, note in TABLES:
        rows = [row for row in mine if row['kind'] == kind and row['changed'] == str(int(changed))]
        counted = not changed and kind in ('size', 'matched_size', 'matched_hard_case')
        filled = {row['group'] for row in rows if int(row['pixels'])}
        groups = [group for group in dict.fromkeys(row['group'] for row in rows) if group in filled]
        seeds = {name: {int(row['seed']) for row in rows if row['method'] == name} for name in methods}
        names = [name for name in methods if seeds[name]]
        if groups and names:
            grid = [[_sums(rows, name, group) for name in names] for group in groups]
            pixels = not counted and not kind.startswith(('matched', 'precise'))
            columns = [_column(sums, changed, counted, pixels) for sums in grid]
            titles = [
                name if seeds[name] >= set(methods[name]) else f'{name} ({which_seeds(seeds[name])})'
                for name in names
            ]
            lines = [(title, [column[index] for column in columns]) for index, title in enumerate(titles)]
            heads = [(group, _amount(sums, counted)) for group, sums in zip(groups, grid, strict=True)]
            tables.append(BreakdownTable(title, note, changed, counted, heads, lines))
    return tables


@dataclass(frozen=True)
class _Sums:
    """One group of one method, summed over its seeds."""

    seeds: int
    objects: int | None
    pixels: int
    called: int
    hits: int


def _sums(rows: Sequence[Row], method: str, group: str) -> _Sums:
    mine = [row for row in rows if (row['method'], row['group']) == (method, group)]
    objects = [int(row['objects']) for row in mine if row['objects']]
    return _Sums(
        seeds=len({row['seed'] for row in mine}),
        objects=sum(objects) if objects else None,
        pixels=sum(int(row['pixels']) for row in mine),
        called=sum(int(row['called']) for row in mine),
        hits=sum(int(row['hits']) for row in mine if row['hits']),
    )


def _column(sums: Sequence[_Sums], changed: bool, counted: bool, pixels: bool) -> list[Share]:
    """The cells of one group, one a method; with the share of the pixels beside that of the objects, or without."""
    values = [_value(one, counted) for one in sums]
    known = [round(value, 3) for value in values if value is not None]  # what is shown alike is alike
    best = (max(known) if changed else min(known)) if len(known) > 1 and not counted else None
    longest = (max(known, default=0) or 1) if counted else 1
    return [
        Share(
            value=value,
            bar=0 if value is None else value / longest,
            pixels=one.called / one.pixels if pixels and one.objects and one.pixels else None,
            best=value is not None and best is not None and round(value, 3) == best,
        )
        for value, one in zip(values, sums, strict=True)
    ]


def _value(one: _Sums, counted: bool) -> float | None:
    """Share of the objects, else of the pixels; or regions a seed."""
    if counted:
        return (one.objects or 0) / one.seeds if one.seeds else None
    if one.objects:
        return one.hits / one.objects
    return one.called / one.pixels if one.pixels else None


def _amount(sums: Sequence[_Sums], counted: bool) -> str:
    """How large a group of the label is, which is the same for all methods."""
    if counted:
        return ''
    one = next(one for one in sums if one.seeds)
    if one.objects is None:
        return f'{one.pixels // one.seeds:,} px'
    objects = one.objects // one.seeds
    return f'{objects:,} object{"" if objects == 1 else "s"}'
