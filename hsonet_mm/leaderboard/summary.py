"""The rows of the tables: means and standard deviations over seeds, and differences to the reference."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from hsonet_mm.leaderboard.board import Cell, Records, numbers, rows_of
from hsonet_mm.leaderboard.bootstrap import OBJECT_AP, OBJECT_F1, PIXEL_F1, Counts, Statistic
from hsonet_mm.leaderboard.comparison import Comparison, compare
from hsonet_mm.leaderboard.records import Run
from hsonet_mm.leaderboard.spec import Spec

__all__ = ['COMPARED', 'COSTS', 'FIGURES', 'OBJECTS', 'ONCE', 'Spread', 'Standing', 'summarise']

FIGURES = ('precision', 'recall', 'f1', 'iou', 'oa', 'kappa')
OBJECTS = ('object_precision', 'object_recall', 'object_f1', 'object_ap')
"""Figures of matched objects; runs of versions that matched none lack them."""
MEASURED = (*FIGURES, *OBJECTS, 'threshold')
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
        planned: Number of seeds of the spec; 1 of published weights.
        seeds: Seeds with a result, ascending.
        failed: Seeds whose run failed and has no earlier result, ascending.
        figures: Fractions by name, see FIGURES and OBJECTS, and ``threshold``; empty without a result.
        costs: See COSTS; those that were not measured are missing. Those of ONCE have a standard deviation only
            where the rows of the seeds differ, as after a second measurement.
        timed_on: Device that its latency and throughput were measured on, the last one of several; empty if unknown.
        comparison: Difference of F1 to the reference; None for the reference itself and where one of the two has
            no counts.
        object_comparisons: Differences of the figures in COMPARED to the reference; empty where ``comparison`` is None
            or one of the two has no objects.
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

    Returns:
        Standings by table, best mean F1 first, methods without a result last. Tables are in the order of the
        blocks of the spec; a method is compared with the reference of its own block only.
    """
    tested = rows_of(records.results, split='test')
    tested = tested.assign(**{name: numbers(tested[name]) for name in (*MEASURED, *COSTS)})
    scored = {Cell(*cell): rows for cell, rows in tested.groupby(list(Cell._fields), sort=False)}
    for run in records.failures:
        scored.setdefault(Cell(run.block, run.data_set, run.data_set, 'whole', 'val'), tested[:0])
    return {
        cell: sorted(
            (
                _standing(
                    records,
                    cell,
                    name,
                    len(spec.seeds_of(method)),
                    block.reference,
                    rows_of(rows, method=name),
                )
                for name, method in block.methods.items()
            ),
            key=lambda standing: -standing.figures['f1'].mean if standing.figures else math.inf,
        )
        for block_name, block in spec.blocks.items()
        for cell, rows in scored.items()
        if cell.block == block_name
    }


def _standing(
    records: Records, cell: Cell, method: str, planned: int, reference: str, rows: pd.DataFrame
) -> Standing:
    """Mean, spread, cost and difference to the reference of one method."""
    seeds = tuple(sorted(rows['seed']))
    failed = {run.seed for run in records.failures if run[:3] == (cell.block, method, cell.data_set)}
    timed, timed_on = _timed(rows)

    def compared(counts: Mapping[str, Counts], statistic: Statistic) -> Comparison | None:
        both = method != reference and {method, reference} <= counts.keys()
        return compare(counts[method], counts[reference], statistic=statistic) if both else None

    objects = {name: compared(records.objects.get(cell, {}), one) for name, one in COMPARED.items()}
    return Standing(
        cell=cell,
        method=method,
        planned=planned,
        seeds=seeds,
        failed=tuple(sorted(failed - set(seeds))),
        weights=_each(rows['weights']),
        figures=_spreads(rows, MEASURED),
        costs=_spreads(rows, [name for name in COSTS if name not in TIMINGS]) | _spreads(timed, TIMINGS),
        device=_each(rows['device']),
        timed_on=timed_on,
        comparison=compared(records.counts.get(cell, {}), PIXEL_F1),
        object_comparisons={name: one for name, one in objects.items() if one},
        is_reference=method == reference,
        scorings=max(
            (records.scorings[Run(cell.block, method, cell.data_set, seed), cell.test_set] for seed in seeds),
            default=0,
        ),
    )


def _each(names: pd.Series) -> str:
    return ', '.join(sorted(set(names) - {''}))


def _timed(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows timed on the same device as the newest one, and that device; other times are not comparable."""
    rows = rows[rows[list(TIMINGS)].notna().any(axis=1)]
    devices = rows['timed_on'].where(rows['timed_on'] != '', rows['device'])
    last = devices.iloc[int(rows['scored_at'].to_numpy(object).argmax())] if len(rows) else ''
    return rows[devices == last], last


def _spreads(rows: pd.DataFrame, names: Iterable[str]) -> dict[str, Spread]:
    """Mean and sample standard deviation (divisor n - 1) of the columns that hold figures."""
    spreads = {}
    for name in names:
        values = rows[name].dropna().to_numpy()
        if not len(values):
            continue
        alike = len(values) == 1 or (name in ONCE and not np.ptp(values))
        spreads[name] = Spread(float(values.mean()), None if alike else float(values.std(ddof=1)))
    return spreads
