"""The CSVs of a leaderboard as its report reads them: of every run the newest scoring, and what it belongs to."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.bootstrap import Counts
from hsonet_mm.leaderboard.records import Row as Record
from hsonet_mm.leaderboard.records import newest, read

__all__ = ['Cell', 'Failure', 'Record', 'Records', 'RunKey', 'cell_of', 'number', 'read_records', 'run_of']


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

    def changed_share(self, cell: Cell) -> float | None:
        """Share of the pixels of the test images of a table that are changed; None where there are no counts."""
        rows = [row for row in self.images if cell_of(row) == cell]
        sums = [
            sum(int(row[name]) for row in rows if run_of(row) == run_of(rows[0]))
            for name in ('tp', 'fn', 'fp', 'tn')
        ]
        return sum(sums[:2]) / sum(sums) if sum(sums) else None


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
