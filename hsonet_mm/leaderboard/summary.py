"""From the CSVs of a leaderboard to the rows of its tables: means and spreads over seeds, and differences."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.bootstrap import Comparison, Counts, common_images, paired_bootstrap
from hsonet_mm.leaderboard.records import Row as Record
from hsonet_mm.leaderboard.records import newest, read
from hsonet_mm.leaderboard.spec import Spec

__all__ = [
    'COSTS',
    'FIGURES',
    'Cell',
    'Failure',
    'Record',
    'Records',
    'Row',
    'RunKey',
    'Spread',
    'cell_of',
    'number',
    'read_records',
    'summarise',
]

FIGURES = ('precision', 'recall', 'f1', 'iou', 'oa', 'kappa')
COSTS = (
    'parameters', 'macs', 'iterations', 'train_seconds', 'harness_seconds', 'latency_ms', 'throughput',
    'peak_memory_mib',
)  # fmt: skip


class RunKey(NamedTuple):
    """One training."""

    block: str
    method: str
    data_set: str
    seed: int


class Cell(NamedTuple):
    """One table: what was trained on and how it was scored on a test split."""

    block: str
    data_set: str
    test_set: str
    protocol: str
    threshold_rule: str


@dataclass(frozen=True)
class Failure:
    """A run that gave no figures.

    Attributes:
        run: The run.
        sentence: What went wrong.
    """

    run: RunKey
    sentence: str


@dataclass(frozen=True)
class Records:
    """The CSVs of a leaderboard, cut to the newest scoring of every run.

    Attributes:
        results: Scores, one a run, test set, split, protocol and threshold rule.
        images: Counts an image.
        curves: Counts a threshold.
        breakdown: Counts a group of objects or pixels.
        training: What the trainings logged.
        failures: Runs whose newest result is a failure.
        scorings: How often a run was scored on a test split, the newest time included.
    """

    results: tuple[Record, ...]
    images: tuple[Record, ...]
    curves: tuple[Record, ...]
    breakdown: tuple[Record, ...]
    training: tuple[Record, ...]
    failures: tuple[Failure, ...]
    scorings: Mapping[tuple[RunKey, str], int]

    def of(self, cell: Cell) -> 'Records':
        """What belongs to one block, data set and test set."""

        def mine(rows: Sequence[Record], names: Sequence[str]) -> tuple[Record, ...]:
            return tuple(row for row in rows if all(row[name] == getattr(cell, name) for name in names))

        where = ('block', 'data_set', 'test_set')
        return replace(
            self,
            results=mine(self.results, where),
            images=mine(self.images, where),
            curves=mine(self.curves, where),
            breakdown=mine(self.breakdown, where),
            training=mine(self.training, where[:2]),
        )

    @cached_property
    def counts(self) -> dict[Cell, dict[str, Counts]]:
        """Pixels tp, fp, fn by table, method, seed and image."""
        tables: dict[Cell, dict[str, dict[int, dict[str, tuple[int, int, int]]]]] = {}
        for row in self.images:
            seeds = tables.setdefault(cell_of(row), {}).setdefault(row['method'], {})
            tp, fp, fn = (int(row[name]) for name in ('tp', 'fp', 'fn'))
            seeds.setdefault(int(row['seed']), {})[row['image']] = (tp, fp, fn)
        return {cell: dict(methods) for cell, methods in tables.items()}


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds; the latter is None for one seed."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Row:
    """One method in one table.

    Attributes:
        cell: The table.
        method: The method.
        weights: What its backbone starts from, ``none`` or ``ImageNet``; empty if unknown.
        seeds: Seeds with a result, ascending.
        failed: Seeds without one.
        figures: Fractions by name, see FIGURES, and ``threshold``; empty if all seeds failed.
        costs: See COSTS; those that were not measured are missing.
        device: Where it was measured.
        comparison: Difference to the reference; None for the reference itself and where one of the two has
            no counts.
        is_reference: Whether it is the reference of its block.
        scorings: How often a run of it was scored on this test split, at most.
    """

    cell: Cell
    method: str
    weights: str = ''
    seeds: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    figures: dict[str, Spread] = field(default_factory=dict)
    costs: dict[str, Spread] = field(default_factory=dict)
    device: str = ''
    comparison: Comparison | None = None
    is_reference: bool = False
    scorings: int = 0


def read_records(out: Path) -> Records:
    """Read the CSVs of a leaderboard; of every run the newest scoring counts.

    Args:
        out: The folder; a CSV that is missing there counts as empty, but for ``results.csv``.

    Raises:
        UserError: if ``results.csv`` is missing, or one of them is no table of a leaderboard.
    """
    if not (out / 'results.csv').is_file():
        raise UserError(f'{out / "results.csv"} does not exist: run the leaderboard into {out} first')
    results = read(out / 'results.csv')
    last = newest(results)
    failures = {
        run_of(row): row['status'].removeprefix('failed:').strip() or 'no reason was given'
        for row in last
        if row['status'] != 'ok'
    }

    def alive(name: str) -> tuple[Record, ...]:
        return tuple(row for row in newest(read(out / f'{name}.csv')) if run_of(row) not in failures)

    tested = (row for row in results if (row['split'], row['status']) == ('test', 'ok'))
    return Records(
        results=tuple(row for row in last if run_of(row) not in failures),
        images=alive('images'),
        curves=alive('curves'),
        breakdown=alive('breakdown'),
        training=alive('training'),
        failures=tuple(Failure(run, sentence) for run, sentence in failures.items()),
        scorings=Counter(
            key[:2] for key in {(run_of(row), row['test_set'], row['scored_at']) for row in tested}
        ),
    )


def summarise(spec: Spec, records: Records) -> dict[Cell, list[Row]]:
    """The tables of the leaderboard: one a block, data set, test set, protocol and threshold rule.

    Args:
        spec: Names the references.
        records: The newest scorings.

    Returns:
        Rows by table, best mean F1 first, methods without a result last. Blocks are in the order of the spec;
        a method is compared with the reference of its own block only.
    """
    tests = [row for row in records.results if row['split'] == 'test']
    by_cell: dict[Cell, dict[str, list[Record]]] = {}
    for row in tests:
        by_cell.setdefault(cell_of(row), {}).setdefault(row['method'], []).append(row)
    failed: dict[tuple[str, str], dict[str, list[int]]] = {}
    for failure in records.failures:
        block, method, data_set, seed = failure.run
        failed.setdefault((block, data_set), {}).setdefault(method, []).append(seed)
    for block, data_set in failed:
        if not any((cell.block, cell.data_set) == (block, data_set) for cell in by_cell):
            by_cell[Cell(block, data_set, data_set, 'whole', 'val')] = {}
    references = {block.name: block.reference for block in spec.blocks}
    order = [*references]
    cells = sorted(by_cell, key=lambda cell: order.index(cell.block) if cell.block in order else len(order))
    tables = {}
    for cell in cells:
        methods, losses = by_cell[cell], failed.get((cell.block, cell.data_set), {})
        rows = [
            _row(
                references.get(cell.block),
                records,
                cell,
                method,
                methods.get(method, ()),
                losses.get(method, ()),
            )
            for method in dict.fromkeys([*methods, *losses])
        ]
        tables[cell] = sorted(rows, key=_rank)
    return tables


def cell_of(row: Record) -> Cell:
    """The table that a line belongs to."""
    return Cell(row['block'], row['data_set'], row['test_set'], row['protocol'], row['threshold_rule'])


def run_of(row: Record) -> RunKey:
    """The run that a line belongs to."""
    return RunKey(row['block'], row['method'], row['data_set'], int(row['seed']))


def number(text: str) -> float | None:
    """A figure of a CSV, None where there is none."""
    try:
        value = float(text or 'nan')
    except ValueError:
        raise UserError(
            f'a table of the leaderboard says {text!r} where a figure belongs: correct it'
        ) from None
    return value if math.isfinite(value) else None


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation (divisor n - 1) of at least one value."""
    values = list(values)
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def _rank(row: Row) -> tuple[float, str]:
    return (-row.figures['f1'].mean if row.figures else math.inf, row.method)


def _row(
    reference: str | None,
    records: Records,
    cell: Cell,
    method: str,
    rows: Sequence[Record],
    failed: Sequence[int],
) -> Row:
    """Mean, spread, cost and difference to the reference of one method."""
    runs = [run_of(row) for row in rows]
    return Row(
        cell=cell,
        method=method,
        weights=', '.join(sorted({row['weights'] for row in rows} - {''})),
        seeds=tuple(sorted(run.seed for run in runs)),
        failed=tuple(sorted(set(failed))),
        figures=_spreads(rows, (*FIGURES, 'threshold')),
        costs=_spreads(rows, COSTS),
        device=', '.join(sorted({row['device'] for row in rows} - {''})),
        comparison=None if method == reference else _compare(records, cell, method, reference),
        is_reference=method == reference,
        scorings=max((records.scorings.get((run, cell.test_set), 0) for run in runs), default=0),
    )


def _spreads(rows: Sequence[Record], names: Iterable[str]) -> dict[str, Spread]:
    columns = {name: [number(row[name]) for row in rows] for name in names}
    known = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return {name: spread(values) for name, values in known.items() if values}


def _compare(records: Records, cell: Cell, method: str, reference: str | None) -> Comparison | None:
    counts = records.counts.get(cell, {})
    if reference not in counts or method not in counts:
        return None
    ours, theirs, _ = common_images(counts[method], counts[reference])
    return paired_bootstrap(ours, theirs)
