"""The folder of a run: its config, its job description and a lock."""

import copy
import json
import pprint
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from hsonet_mm import components  # noqa: F401
from hsonet_mm.bands import LOADERS
from hsonet_mm.errors import UserError
from hsonet_mm.files import lock, write_json, write_text
from hsonet_mm.leaderboard.plan import Contender
from hsonet_mm.leaderboard.records import Row, Run, newest
from hsonet_mm.leaderboard.spec import Spec

__all__ = ['Job', 'alone', 'as_python', 'hashes_trained', 'take_over', 'write_job']

NOTE = 'trains.json'
"""Says in the folder of a run what was trained there."""


@dataclass(frozen=True)
class Job:
    """What the process of one run needs to know; stands in the run's folder as ``run.json``.

    Hashes and weights are as in :class:`hsonet_mm.leaderboard.plan.Contender`; roots of test sets as written in the
    spec; protocols by their names in the recipe; the cost is empty where it is not known.
    """

    block: str
    method: str
    data_set: str
    seed: int
    iterations: int
    weights: str
    config_hash: str
    test_sets: dict[str, str]
    data_hashes: dict[str, str]
    protocols: list[str]
    checkpoint: str | None = None
    cost: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: Spec, run: Run, contender: Contender) -> 'Job':
        """The job of a run of a spec, without cost."""
        method = spec.blocks[run.block].methods[run.method]
        return cls(
            **run._asdict(),
            iterations=spec.iterations_of(method),
            weights=contender.weights,
            config_hash=contender.config_hash,
            test_sets=spec.test_sets(run.data_set),
            data_hashes=dict(contender.data_hashes),
            protocols=list(contender.config.protocols),
            checkpoint=method.checkpoint,
        )

    @classmethod
    def read(cls, path: Path) -> 'Job':
        """Read a ``run.json``."""
        return cls(**json.loads(path.read_text(encoding='utf-8')))

    @property
    def run(self) -> Run:
        """The run."""
        return Run(self.block, self.method, self.data_set, self.seed)

    def is_done(self, rows: Iterable[Row]) -> bool:
        """Whether the newest scoring has all test sets and protocols, with this config on these files.

        ``rows`` are those of this run in table ``results``.
        """
        scored = {
            (row['config_hash'], row['test_set'], row['data_hash'], row['protocol'])
            for row in newest(rows)
            if row['status'] == 'ok'
        }
        return scored >= {
            (self.config_hash, test_set, self.data_hashes[test_set], protocol)
            for test_set in self.test_sets
            for protocol in self.protocols
        }


def write_job(spec: Spec, run: Run, contender: Contender, cost: Mapping[str, Any], out: Path) -> Path:
    """Make the folder of a run, with ``config.py`` and ``run.json``.

    Where another process works on the run, they stay as they are. Returns the path of ``run.json``.
    """
    job = replace(Job.of(spec, run, contender), cost=dict(cost))
    cfg = copy.deepcopy(contender.config)
    cfg.setdefault('randomness', {})['seed'] = run.seed
    for loader in LOADERS:
        cfg[loader].dataset.data_root = spec.data[run.data_set]
    cfg.pop('data_root', None)  # of the recipe, where it was written once for all loaders
    folder = out / run.folder
    cfg.work_dir = str(folder / 'work_dir')
    path = folder / 'run.json'
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(UserError), alone(folder):  # if it is not, its process will say so
        write_text(folder / 'config.py', as_python(cfg))
        write_json(path, asdict(job))
    return path


def take_over(folder: Path, job: Job) -> None:
    """Claim the existing files in the folder of a run for a job.

    What a training by another config, or on other files, left there is removed, but for the rows of its scorings.
    This is done when the run begins, so that a leaderboard that is stopped before loses nothing.
    """
    mine = [job.config_hash, job.data_hashes[job.data_set]]
    if hashes_trained(folder) != mine:
        for left in filter(Path.exists, (folder / 'work_dir', folder / 'probs')):
            shutil.rmtree(left)
        (folder / 'trained.json').unlink(missing_ok=True)
        write_json(folder / NOTE, mine)


def hashes_trained(folder: Path) -> list[str | None]:
    """Hashes of config and data of the training in the folder of a run, which may not be those of ``run.json``."""
    note = folder / NOTE
    return json.loads(note.read_text(encoding='utf-8')) if note.exists() else [None, None]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock a run against other processes, on all machines that share the folder."""
    with (folder / 'lock').open('w') as file:
        if not lock(file):
            raise UserError(f'another process uses {folder}: wait for it, or end it')
        yield


def as_python(cfg: Config) -> str:
    """The config as Python source; MMEngine's own formatting takes a second."""
    lines = ['"""Written by hsonet leaderboard; train it alone with: hsonet train FILE."""\n']
    for key, value in cfg.to_dict().items():
        lines.append(f'{key} = {pprint.pformat(value, width=110, sort_dicts=False)}')
    return '\n'.join(lines) + '\n'
