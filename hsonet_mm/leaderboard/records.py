"""The tables of a leaderboard as tidy CSV files in UTF-8, which are only appended to.

Every scoring of a run writes its rows into the run's own folder, under ``parts/<scored_at>``, in one step: two
processes or machines never write one file. :func:`gather` appends what is new to the files of the output folder. A
run that is trained again keeps its old rows; :func:`newest` tells what counts.
"""

import csv
import io
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from hsonet_mm.errors import UserError
from hsonet_mm.files import write_text

__all__ = [
    'COLUMNS',
    'LOGGED',
    'Row',
    'Run',
    'gather',
    'newest',
    'note_opening',
    'now',
    'openings',
    'read',
    'read_parts',
    'read_table',
    'run_of',
    'slug_of',
    'write_part',
]

Row = dict[str, str]
"""A row as it is read: everything is text, and what is not known is empty."""

KEYS = ('block', 'method', 'data_set', 'test_set', 'seed')
COUNTS = ('tp', 'fp', 'fn', 'tn')
OBJECTS = ('objects', 'found', 'alarms')
LOGGED = (
    *('loss', 'eo_zeta', 'eo_Z'),
    *('eo_grad_foreground', 'eo_grad_hard_background', 'eo_grad_easy_background', 'eo_grad_edges'),
)
"""Columns of ``training`` that bear the names under which MMEngine logs them."""
COLUMNS: dict[str, tuple[str, ...]] = {
    'results': (
        *KEYS,
        *('split', 'protocol', 'threshold_rule', 'threshold', 'weights'),
        *('precision', 'recall', 'f1', 'iou', 'oa', 'kappa'),
        *('object_precision', 'object_recall', 'object_f1', 'object_ap', 'images', 'openings', 'pixels'),
        *('parameters', 'macs', 'iterations', 'best_iteration', 'train_seconds', 'harness_seconds'),
        *('latency_ms', 'throughput', 'peak_memory_mib', 'timed_on', 'device', 'commit'),
        *('data_hash', 'config_hash', 'scored_at', 'status'),
    ),
    'images': (*KEYS, 'protocol', 'threshold_rule', 'image', *COUNTS, *OBJECTS, 'scored_at'),
    'curves': (*KEYS, 'protocol', 'threshold', *COUNTS, 'scored_at'),
    'breakdown': (
        *KEYS,
        *('threshold_rule', 'kind', 'group', 'changed', 'objects', 'pixels', 'called', 'hits', 'scored_at'),
    ),
    'training': (
        *KEYS,
        *('iteration', *LOGGED, 'val_f1', 'val_best_f1', 'scored_at'),
    ),
}
"""Columns of every table; the file of table ``results`` is ``results.csv``.

A row of val names the data set that the run was trained on as its test set. In ``images``, ``objects`` is the number of
labelled ones, ``found`` and ``alarms`` are the scores in percent of the predicted ones that match and of those that do
not, see :mod:`hsonet_mm.evaluation.objects`. ``openings``: how often the run has opened that test split, this time
included; also without a row, where it failed behind. ``timed_on``: the device of ``latency_ms`` and ``throughput``,
which are measured apart from the run; ``device``: the one of the run. ``data_hash``: names and sizes of the files of
the test set's data set, all its splits, see :class:`hsonet_mm.leaderboard.plan.Contender`.
"""


_WHOLE = {
    'seed': re.compile(r'-?\d+'),
    'scored_at': re.compile(r'\d{4}-\d\d-\d\dT[\d:.]+Z'),
    **dict.fromkeys((*COUNTS, 'called'), re.compile(r'\d+')),
    **dict.fromkeys(('openings', 'objects', 'hits'), re.compile(r'\d*')),
    **dict.fromkeys(('found', 'alarms'), re.compile(r'[\d ]*')),
}
"""What these columns hold where a row is whole."""
_CURE = 'delete it, and run the leaderboard again, which gathers it from the folders of its runs'


class Run(NamedTuple):
    """One training and its scoring, of published weights the scoring alone; the fields are columns of all tables."""

    block: str
    method: str
    data_set: str
    seed: int

    @property
    def folder(self) -> Path:
        """Its folder, relative to the output folder."""
        return Path('runs', self.data_set, slug_of(self.block), self.method, f'seed{self.seed}')

    def __str__(self) -> str:
        return f'{self.data_set} / {self.block} / {self.method} / seed {self.seed}'


def slug_of(name: str) -> str:
    """The name of a block as that of a folder."""
    return re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')


def now() -> str:
    """The time of a scoring: ISO 8601, UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec='milliseconds').replace('+00:00', 'Z')


def run_of(row: Mapping[str, Any]) -> Run:
    """The run of a row."""
    return Run(row['block'], row['method'], row['data_set'], int(row['seed']))


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file as text, without rows if it does not exist; a column that an older version did not write is empty."""
    columns = list(COLUMNS.get(path.stem, ()))
    if not path.is_file():
        return pd.DataFrame(columns=columns, dtype=object)
    try:
        with path.open(encoding='utf-8', newline='') as file:
            heads, *lines = csv.reader(file)
    except (ValueError, csv.Error) as error:  # the first of an empty file or other letters
        raise UserError(f'{path} is not a results table of a leaderboard ({error}): {_CURE}') from None
    if lines and not {*KEYS, 'scored_at'} <= set(heads) <= {*columns, *KEYS, 'scored_at'}:
        raise UserError(
            f'{path} is not a results table of a leaderboard: move it away, or give another folder'
        )
    lines = [line if len(line) == len(heads) else [''] * len(heads) for line in lines]  # no seed is damage
    table = pd.DataFrame(lines, columns=heads, dtype=object)
    whole = np.all([table[name].str.fullmatch(_WHOLE[name]) for name in _WHOLE.keys() & set(heads)], axis=0)
    if not whole.all():
        raise UserError(f'{path} is damaged at line {2 + int(whole.argmin())}: {_CURE}')
    return table.reindex(columns=[*columns, *table.columns.difference(columns)], fill_value='')


def read(path: Path) -> list[Row]:
    """The rows of a CSV file, see :func:`read_table`."""
    return cast('list[Row]', read_table(path).to_dict('records'))


def newest(rows: Iterable[Row]) -> list[Row]:
    """The rows of the last scoring of every run, in their order; of ``results`` it may be a failure."""
    rows = list(rows)
    last: dict[Run, str] = {}
    for row in rows:
        run = run_of(row)
        last[run] = max(last.get(run, ''), row['scored_at'])
    return [row for row in rows if row['scored_at'] == last[run_of(row)]]


def write_part(folder: Path, scored_at: str, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write all rows of one scoring in one step."""
    parts = folder / 'parts'
    temporary = parts / f'.{secrets.token_hex(4)}'
    temporary.mkdir(parents=True)
    for name, rows in tables.items():
        stamped = ({**row, 'scored_at': scored_at} for row in rows)
        (temporary / f'{name}.csv').write_bytes(_text(COLUMNS[name], stamped).encode())
    os.replace(temporary, parts / scored_at.replace(':', ''))  # noqa: PTH105 (a folder, into its place at once)


def read_parts(folder: Path, table: str) -> list[Row]:
    """The rows of one run's scorings, oldest first."""
    return [row for path in sorted(folder.glob(f'parts/[0-9]*/{table}.csv')) for row in read(path)]


def note_opening(folder: Path, test_set: str) -> None:
    """Record that a run is about to use a test split, so that it is counted even if the scoring fails."""
    notes = folder / 'parts' / 'opened' / test_set
    notes.mkdir(parents=True, exist_ok=True)
    (notes / now().replace(':', '')).touch()


def openings(folder: Path, test_set: str) -> int:
    """How often a run has used a test split; arguments as of :func:`note_opening`."""
    return len(list(folder.glob(f'parts/opened/{test_set}/*')))


def gather(out: Path) -> None:
    """Append the scorings that are missing or truncated in the tables of the output folder, each file atomically."""
    folders = sorted(path.parent for path in out.glob('runs/*/*/*/*/parts'))
    for name, columns in COLUMNS.items():
        path = out / f'{name}.csv'
        rows = read(path)
        known = Counter(map(_scoring, rows))
        parts = [row for folder in folders for row in read_parts(folder, name)]
        lacking = {one for one, count in Counter(map(_scoring, parts)).items() if known[one] < count}
        if lacking or not path.exists():
            old = [row for row in rows if _scoring(row) not in lacking]
            new = sorted((row for row in parts if _scoring(row) in lacking), key=lambda row: row['scored_at'])
            write_text(path, _text(columns, [*old, *new]))


def _scoring(row: Row) -> tuple[Run, str]:
    return run_of(row), row['scored_at']


def _text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
