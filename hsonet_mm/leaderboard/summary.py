"""From scorings to the rows of the tables: means and spreads over seeds, and differences to the reference."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hsonet_mm.leaderboard.board import Cell, Record, Records, cell_of, number, run_of
from hsonet_mm.leaderboard.bootstrap import Comparison, common_images, paired_bootstrap
from hsonet_mm.leaderboard.spec import Spec

__all__ = ['COSTS', 'FIGURES', 'Row', 'Spread', 'summarise']

FIGURES = ('precision', 'recall', 'f1', 'iou', 'oa', 'kappa')
COSTS = (
    'parameters', 'macs', 'iterations', 'train_seconds', 'harness_seconds', 'latency_ms', 'throughput',
    'peak_memory_mib',
)  # fmt: skip


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
