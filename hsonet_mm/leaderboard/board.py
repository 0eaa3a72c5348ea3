"""The CSV files of a leaderboard as its report reads them: the newest scoring of every run of the spec."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.leaderboard.bootstrap import Counts, ObjectScores
from hsonet_mm.leaderboard.records import COUNTS, OBJECTS, Run, read_table
from hsonet_mm.leaderboard.spec import Spec

__all__ = ['Cell', 'Records', 'numbers', 'read_configs', 'read_records', 'rows_of']

RUN = list(Run._fields)
SCORING = [*RUN, 'test_set', 'scored_at']


class Cell(NamedTuple):
    """One table: what was trained on and how it was scored on a test split."""

    block: str
    data_set: str
    test_set: str
    protocol: str
    threshold_rule: str


@dataclass(frozen=True)
class Records:
    """The CSVs of a leaderboard, cut to the newest scoring of every run on every test set; text but for the seed.

    Attributes:
        results: Scores, one a run, test set, split, protocol and threshold rule.
        failures: What went wrong in runs whose newest result is a failure; figures of an earlier one count still.
        scorings: How often a run was scored on a test split, whatever its config and whatever came of it.
        left_out: Number of scorings that are part of nothing else here, by why.
    """

    results: pd.DataFrame
    images: pd.DataFrame
    curves: pd.DataFrame
    breakdown: pd.DataFrame
    training: pd.DataFrame
    failures: Mapping[Run, str]
    scorings: Mapping[tuple[Run, str], int]
    left_out: Mapping[str, int]

    def of(self, cell: Cell) -> 'Records':
        """What belongs to one block, data set and test set."""
        where = {name: getattr(cell, name) for name in ('block', 'data_set', 'test_set')}
        trained = {name: where[name] for name in ('block', 'data_set')}
        tables = {name: getattr(self, name) for name in ('results', 'images', 'curves', 'breakdown')}
        return replace(
            self,
            training=rows_of(self.training, **trained),
            **{name: rows_of(table, **where) for name, table in tables.items()},
        )

    @cached_property
    def counts(self) -> Mapping[Cell, Mapping[str, Counts]]:
        """Pixels by table, method, seed and image."""
        return _by_image(self.images, COUNTS, lambda *counts: Confusion(*map(int, counts)))

    @cached_property
    def objects(self) -> Mapping[Cell, Mapping[str, Counts]]:
        """Objects by table, method, seed and image; without the runs of versions that matched none."""

        def scores(labelled: str, *texts: str) -> ObjectScores:
            found, alarms = (tuple(map(int, text.split())) for text in texts)
            return ObjectScores(int(labelled), found, alarms)

        return _by_image(self.images[self.images['objects'] != ''], OBJECTS, scores)

    def truths(self, cell: Cell) -> list[dict[str, tuple[int, int]]]:
        """Changed and all pixels of every test image of a table, as its runs saw them.

        One account if all runs were scored on the same images and labels, several if not, none without counts.
        """
        runs = [images for seeds in self.counts.get(cell, {}).values() for images in seeds.values()]
        found: list[dict[str, tuple[int, int]]] = []
        for images in runs:
            truth = {name: (one.tp + one.fn, one.total) for name, one in images.items()}
            if truth not in found:
                found.append(truth)
        return found

    def changed_share(self, cell: Cell) -> float | None:
        """Share of changed pixels in the test images of a table; None if unknown."""
        truths = self.truths(cell)
        if len(truths) != 1:
            return None
        changed, pixels = np.array(list(truths[0].values())).sum(0)
        return float(changed / pixels) if pixels else None


def read_records(out: Path, spec: Spec) -> Records:
    """Read the CSVs of a leaderboard; of every run the newest scoring that gave figures counts.

    Runs and test sets that the spec does not name are left out, scorings after another number of iterations (none of
    published weights) too, and those of another config than ``configs.json`` names for the method. Where it names none,
    all scorings of a method are of one config, that of its newest. A CSV that is missing counts as empty, but for
    ``results.csv``.
    """
    if not (out / 'results.csv').is_file():
        raise UserError(f'{out / "results.csv"} does not exist: run the leaderboard into {out} first')
    planned = {(*run, test_set) for run in spec.runs() for test_set in spec.test_sets(run.data_set)}
    results = _read(out / 'results.csv')
    named = results[_keys(results, [*RUN, 'test_set']).isin(planned)]
    iterations = {
        (block, name): spec.iterations_of(method)
        for block, one in spec.blocks.items()
        for name, method in one.methods.items()
    }
    wanted = [iterations[one] for one in _keys(named, ['block', 'method'])]
    trained = named[numbers(named['iterations']) == wanted]
    by_time = trained.sort_values('scored_at', kind='stable')
    configs = dict(zip(_keys(by_time, ['block', 'method']), by_time['config_hash'], strict=True))
    configs |= read_configs(out)
    current = trained[trained['config_hash'] == [configs[one] for one in _keys(trained, ['block', 'method'])]]
    good = _newest(current[current['status'] == 'ok'], [*RUN, 'split', 'test_set'])
    kept = set(_keys(good, SCORING))

    def belonging(name: str) -> pd.DataFrame:
        table = _read(out / f'{name}.csv')
        named_too = table['test_set'].where(
            table['test_set'] != '', table['data_set']
        )  # not in the log of a training
        return table[_keys(table.assign(test_set=named_too), SCORING).isin(kept)]

    reasons = (
        ('not in the spec', results, named),
        ('after another number of iterations', named, trained),
        ('of another config', trained, current),
    )
    failed = _newest(current, RUN)
    failed = failed[failed['status'] != 'ok']
    sentences = failed['status'].str.removeprefix('failed:').str.strip().replace('', 'no reason was given')
    runs = (Run(*run) for run in _keys(failed, RUN))
    return Records(
        results=good,
        images=belonging('images'),
        curves=belonging('curves'),
        breakdown=belonging('breakdown'),
        training=belonging('training'),
        failures=dict(zip(runs, sentences, strict=True)),
        scorings=_scorings(results),
        left_out={why: gone for why, one, rest in reasons if (gone := _gone(one, rest))},
    )


def _gone(table: pd.DataFrame, rest: pd.DataFrame) -> int:
    """Scorings of runs of which the rest lacks rows, on however many test sets."""
    gone = set(_keys(table, SCORING)) - set(_keys(rest, SCORING))
    return len({(*run, scored_at) for *run, _test_set, scored_at in gone})


def read_configs(out: Path) -> dict[tuple[str, str], str]:
    """The hash of the config of every block and method at the last start of the leaderboard; empty before the first."""
    path = out / 'configs.json'
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        return {(block, name): one for block, methods in content.items() for name, one in methods.items()}
    except (ValueError, AttributeError):
        raise UserError(f'{path} is damaged: delete it, and run the leaderboard again') from None


def rows_of(table: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """The rows of a table in which these columns have these values."""
    for name, value in where.items():
        table = table[table[name] == value]
    return table


def numbers(column: pd.Series) -> pd.Series:
    """The numbers of a column of text, NaN for empty cells."""
    values = pd.to_numeric(column, errors='coerce').astype(float)
    wrong = column[values.isna() & ~column.str.lower().isin(['', 'nan'])]
    if len(wrong):
        raise UserError(f'invalid value {wrong.iloc[0]!r} in a table of the leaderboard: expected a number')
    return values.where(np.isfinite(values))


def _read(path: Path) -> pd.DataFrame:
    return read_table(path).astype({'seed': int})


def _keys(table: pd.DataFrame, names: list[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table[names])


def _newest(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The rows of the last scoring of everything that these columns name."""
    return table[table['scored_at'] == table.groupby(names)['scored_at'].transform('max')]


def _scorings(results: pd.DataFrame) -> dict[tuple[Run, str], int]:
    """How often each run was scored on each test set; of scorings without results only the number is known."""
    results = results.assign(
        openings=numbers(results['openings']).fillna(0),
        tested=results['scored_at'].where((results['split'] == 'test') & (results['status'] == 'ok')),
    )
    groups = results.groupby([*RUN, 'test_set'], sort=False)
    times = np.maximum(groups['tested'].nunique(), groups['openings'].max()).astype(int)
    return {(Run(*run), test_set): int(count) for (*run, test_set), count in times.items()}


def _by_image(
    images: pd.DataFrame, columns: Sequence[str], counts: Callable[..., Any]
) -> Mapping[Cell, Mapping[str, Counts]]:
    """Counts by table, method, seed and image."""
    tables: dict[Cell, dict[str, dict[int, dict[str, Any]]]] = {}
    for (*cell, method, seed), rows in images.groupby([*Cell._fields, 'method', 'seed'], sort=False):
        texts = (rows[name] for name in columns)
        seeds = tables.setdefault(Cell(*cell), {}).setdefault(method, {})
        seeds[seed] = dict(zip(rows['image'], map(counts, *texts), strict=True))
    return tables
