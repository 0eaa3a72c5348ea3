"""The CSVs of a leaderboard as its report reads them: the newest scoring of every run that the spec names."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.leaderboard.bootstrap import Counts, ObjectScores
from hsonet_mm.leaderboard.records import Row, RunKey, newest, newest_figures, read, run_key
from hsonet_mm.leaderboard.spec import Spec

__all__ = ['Cell', 'Failure', 'Records', 'cell_of', 'number', 'read_configs', 'read_records']


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
    """The CSVs of a leaderboard, cut to the newest scoring of every run on every test set.

    Attributes:
        results: Scores, one a run, test set, split, protocol and threshold rule.
        images: Counts an image.
        curves: Counts a threshold.
        breakdown: Counts a group of objects or pixels.
        training: What the runs logged.
        failures: Runs whose newest result is a failure; figures of an earlier one count still.
        scorings: How often a run was scored on a test split, whatever its config and whatever came of it.
        left_out: Number of scorings that are part of nothing else here, by why.
    """

    results: tuple[Row, ...]
    images: tuple[Row, ...]
    curves: tuple[Row, ...]
    breakdown: tuple[Row, ...]
    training: tuple[Row, ...]
    failures: tuple[Failure, ...]
    scorings: Mapping[tuple[RunKey, str], int]
    left_out: Mapping[str, int]

    def of(self, cell: Cell) -> 'Records':
        """What belongs to one block, data set and test set."""

        def mine(rows: Sequence[Row], names: Sequence[str]) -> tuple[Row, ...]:
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
        """Pixels by table, method, seed and image."""
        return _by_image(self.images, _pixels)

    @cached_property
    def objects(self) -> dict[Cell, dict[str, Counts]]:
        """Objects by table, method, seed and image; without the runs of versions that matched none."""
        return _by_image([row for row in self.images if row['objects']], _objects)

    def truths(self, cell: Cell) -> list[dict[str, tuple[int, int]]]:
        """Changed and all pixels of every test image of a table, as its runs saw them.

        Returns:
            One account if all runs were scored on the same images and labels, several if not, none without counts.
        """
        found: list[dict[str, tuple[int, int]]] = []
        for seeds in self.counts.get(cell, {}).values():
            for images in seeds.values():
                truth = {name: (one.tp + one.fn, one.total) for name, one in images.items()}
                if truth not in found:
                    found.append(truth)
        return found

    def changed_share(self, cell: Cell) -> float | None:
        """Share of the pixels of the test images of a table that are changed; None where that is not known."""
        truths = self.truths(cell)
        changed, pixels = (
            (sum(numbers) for numbers in zip(*truths[0].values(), strict=True)) if truths else (0, 0)
        )
        return changed / pixels if len(truths) == 1 and pixels else None


def read_records(out: Path, spec: Spec) -> Records:
    """Read the CSVs of a leaderboard; of every run the newest scoring that gave figures counts.

    Runs and test sets that the spec does not name are left out, scorings after another number of iterations too, and
    those of another config than ``configs.json`` names for the method. Where it names none, all scorings of a method
    are of one config, that of its newest.

    Args:
        out: The folder; a CSV that is missing there counts as empty, but for ``results.csv``.
        spec: What was to be run.

    Raises:
        UserError: if ``results.csv`` is missing, or one of them is no table of a leaderboard.
    """
    if not (out / 'results.csv').is_file():
        raise UserError(f'{out / "results.csv"} does not exist: run the leaderboard into {out} first')
    planned = {(run.key, test_set) for run in spec.runs() for test_set in spec.test_sets(run.data_set)}
    results = read(out / 'results.csv')
    named = [row for row in results if (run_key(row), row['test_set']) in planned]
    trained = [row for row in named if number(row['iterations']) == spec.iterations]
    configs = {
        _contender(row): row['config_hash'] for row in sorted(trained, key=lambda row: row['scored_at'])
    } | read_configs(out)
    current = [row for row in trained if row['config_hash'] == configs[_contender(row)]]
    good = newest_figures(current)
    kept = _scorings(good)

    def belonging(name: str) -> tuple[Row, ...]:
        # the log of a training names no test set
        return tuple(
            row
            for row in read(out / f'{name}.csv')
            if (run_key(row), row['test_set'] or row['data_set'], row['scored_at']) in kept
        )

    reasons = (
        ('not in the spec', results, named),
        ('after another number of iterations', named, trained),
        ('of another config', trained, current),
    )
    tested = [row for row in results if (row['split'], row['status']) == ('test', 'ok')]
    scorings = Counter(scoring[:2] for scoring in _scorings(tested))
    for row in results:  # openings that gave no figures are known to their count alone
        test = run_key(row), row['test_set']
        scorings[test] = max(scorings[test], int(row['openings'] or 0))
    return Records(
        results=tuple(good),
        images=belonging('images'),
        curves=belonging('curves'),
        breakdown=belonging('breakdown'),
        training=belonging('training'),
        failures=tuple(
            dict.fromkeys(  # one of several test sets
                Failure(run_key(row), row['status'].removeprefix('failed:').strip() or 'no reason was given')
                for row in newest(current)
                if row['status'] != 'ok'
            )
        ),
        scorings=scorings,
        left_out={why: gone for why, one, rest in reasons if (gone := len(_scorings(one) - _scorings(rest)))},
    )


def read_configs(out: Path) -> dict[tuple[str, str], str]:
    """The hash of the config of every block and method as the leaderboard was last started; none if it never was.

    Raises:
        UserError: if ``configs.json`` is damaged.
    """
    path = out / 'configs.json'
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        return {(block, name): one for block, methods in content.items() for name, one in methods.items()}
    except (ValueError, AttributeError):
        raise UserError(f'{path} is damaged: delete it, and start the leaderboard again') from None


def cell_of(row: Row) -> Cell:
    """The table that a line belongs to."""
    return Cell(row['block'], row['data_set'], row['test_set'], row['protocol'], row['threshold_rule'])


def number(text: str) -> float | None:
    """A figure of a CSV, None where there is none."""
    try:
        value = float(text or 'nan')
    except ValueError:
        raise UserError(
            f'a table of the leaderboard says {text!r} where a figure belongs: correct it'
        ) from None
    return value if math.isfinite(value) else None


def _by_image(rows: Iterable[Row], counts: Callable[[Row], Any]) -> dict[Cell, dict[str, Counts]]:
    """Counts by table, method, seed and image."""
    tables: dict[Cell, dict[str, dict[int, dict[str, Any]]]] = {}
    for row in rows:
        seeds = tables.setdefault(cell_of(row), {}).setdefault(row['method'], {})
        seeds.setdefault(int(row['seed']), {})[row['image']] = counts(row)
    return {cell: dict(methods) for cell, methods in tables.items()}


def _pixels(row: Row) -> Confusion:
    return Confusion(*(int(row[name]) for name in ('tp', 'fp', 'fn', 'tn')))


def _objects(row: Row) -> ObjectScores:
    found, alarms = (tuple(map(int, row[name].split())) for name in ('found', 'alarms'))
    return ObjectScores(int(row['objects']), found, alarms)


def _contender(row: Row) -> tuple[str, str]:
    """Block and method."""
    return row['block'], row['method']


def _scorings(rows: Iterable[Row]) -> set[tuple[RunKey, str, str]]:
    """Run, test set and time of the scorings that lines belong to."""
    return {(run_key(row), row['test_set'], row['scored_at']) for row in rows}
