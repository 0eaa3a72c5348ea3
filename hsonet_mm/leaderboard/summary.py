"""From scorings to the rows of the tables: means and spreads over seeds, and differences to the reference."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hsonet_mm.leaderboard.board import Cell, Records, cell_of, number
from hsonet_mm.leaderboard.bootstrap import OBJECT_AP, OBJECT_F1
from hsonet_mm.leaderboard.comparison import Comparison, compare
from hsonet_mm.leaderboard.records import Row, run_key
from hsonet_mm.leaderboard.spec import Spec

__all__ = ['COMPARED', 'COSTS', 'FIGURES', 'OBJECTS', 'ONCE', 'Spread', 'Standing', 'summarise']

FIGURES = ('precision', 'recall', 'f1', 'iou', 'oa', 'kappa')
OBJECTS = ('object_precision', 'object_recall', 'object_f1', 'object_ap')
"""Figures of matched objects; runs of versions that matched none lack them."""
COMPARED = {'object_ap': OBJECT_AP, 'object_f1': OBJECT_F1}
"""Figures of objects that are compared with the reference."""
COSTS = (
    'parameters', 'macs', 'iterations', 'train_seconds', 'harness_seconds', 'latency_ms', 'throughput',
    'peak_memory_mib',
)  # fmt: skip
TIMINGS = ('latency_ms', 'throughput')
ONCE = ('parameters', 'macs', 'iterations', *TIMINGS)
"""Costs of a method, not of a run: known once, and copied to the row of every seed."""


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds; the latter is None for one seed, and for what is known once."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Standing:
    """One method in one table.

    Attributes:
        cell: The table.
        method: The method.
        planned: Number of seeds of the spec.
        seeds: Seeds with a result, ascending.
        failed: Seeds whose run failed and has no earlier result, ascending.
        weights: What its backbone starts from, ``none`` or ``ImageNet``; empty if unknown.
        figures: Fractions by name, see FIGURES and OBJECTS, and ``threshold``; empty without a result.
        costs: See COSTS; those that were not measured are missing. Those of ONCE have a standard deviation only
            where the rows of the seeds differ, as after a second measurement.
        device: Where it was trained and scored.
        timed_on: Device that its latency and throughput were measured on, the last one of several; empty if unknown.
        comparison: Difference of F1 to the reference; None for the reference itself and where one of the two has
            no counts.
        object_comparisons: Differences of the figures in COMPARED to the reference; empty where ``comparison`` is None
            or one of the two has no objects.
        is_reference: Whether it is the reference of its block.
        scorings: How often a run of it was scored on this test split, at most.
    """

    cell: Cell
    method: str
    planned: int
    seeds: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    weights: str = ''
    figures: dict[str, Spread] = field(default_factory=dict)
    costs: dict[str, Spread] = field(default_factory=dict)
    device: str = ''
    timed_on: str = ''
    comparison: Comparison | None = None
    object_comparisons: dict[str, Comparison] = field(default_factory=dict)
    is_reference: bool = False
    scorings: int = 0


def summarise(spec: Spec, records: Records) -> dict[Cell, list[Standing]]:
    """The tables of the leaderboard: one a block, data set, test set, protocol and threshold rule.

    Args:
        spec: Names the methods, which are all in every table of their block, and the references.
        records: The newest scorings.

    Returns:
        Standings by table, best mean F1 first, methods without a result last. Tables are in the order of the
        blocks of the spec; a method is compared with the reference of its own block only.
    """
    scored: dict[Cell, dict[str, list[Row]]] = {}
    for row in records.results:
        if row['split'] == 'test':
            scored.setdefault(cell_of(row), {}).setdefault(row['method'], []).append(row)
    for failure in records.failures:
        run = failure.run
        scored.setdefault(Cell(run.block, run.data_set, run.data_set, 'whole', 'val'), {})
    tables = {}
    for block in spec.blocks:
        for cell, rows in scored.items():
            if cell.block == block.name:
                standings = [
                    _standing(spec, records, cell, method.name, block.reference, rows.get(method.name, ()))
                    for method in block.methods
                ]
                tables[cell] = sorted(standings, key=_rank)
    return tables


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation (divisor n - 1) of at least one value."""
    values = list(values)
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def _rank(standing: Standing) -> float:
    return -standing.figures['f1'].mean if standing.figures else math.inf


def _standing(
    spec: Spec, records: Records, cell: Cell, method: str, reference: str, rows: Sequence[Row]
) -> Standing:
    """Mean, spread, cost and difference to the reference of one method."""
    runs = [run_key(row) for row in rows]
    failed = {one.run.seed for one in records.failures if one.run[:3] == (cell.block, method, cell.data_set)}
    counts, objects = records.counts.get(cell, {}), records.objects.get(cell, {})
    timed, timed_on = _timed(rows)
    return Standing(
        cell=cell,
        method=method,
        planned=len(spec.seeds),
        seeds=tuple(sorted(run.seed for run in runs)),
        failed=tuple(sorted(failed - {run.seed for run in runs})),
        weights=', '.join(sorted({row['weights'] for row in rows} - {''})),
        figures=_spreads(rows, (*FIGURES, *OBJECTS, 'threshold')),
        costs=_spreads(rows, [name for name in COSTS if name not in TIMINGS]) | _spreads(timed, TIMINGS),
        device=', '.join(sorted({row['device'] for row in rows} - {''})),
        timed_on=timed_on,
        comparison=compare(counts[method], counts[reference])
        if method != reference and {method, reference} <= counts.keys()
        else None,
        object_comparisons={
            name: compare(objects[method], objects[reference], statistic=statistic)
            for name, statistic in COMPARED.items()
            if method != reference and {method, reference} <= objects.keys()
        },
        is_reference=method == reference,
        scorings=max((records.scorings[run, cell.test_set] for run in runs), default=0),
    )


def _timed(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """The rows that were timed on the device of the newest of them, and that device: no other time compares."""
    devices = [(row, row['timed_on'] or row['device']) for row in rows if any(row[name] for name in TIMINGS)]
    _, last = max(devices, key=lambda one: one[0]['scored_at'], default=(None, ''))
    return [row for row, device in devices if device == last], last


def _spreads(rows: Sequence[Row], names: Iterable[str]) -> dict[str, Spread]:
    columns = {name: [number(row[name]) for row in rows] for name in names}
    known = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return {
        name: Spread(values[0], None) if name in ONCE and len(set(values)) == 1 else spread(values)
        for name, values in known.items()
        if values
    }
