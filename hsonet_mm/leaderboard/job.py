"""What stands in the folder of a run for the process that executes it: its config, its facts, and a lock."""

import copy
import json
import pprint
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from hsonet_mm.apis.config import LOADERS
from hsonet_mm.errors import UserError
from hsonet_mm.files import write_json, write_text
from hsonet_mm.leaderboard.plan import Contender
from hsonet_mm.leaderboard.spec import Run, Spec

__all__ = ['Job', 'alone', 'write_job']


@dataclass(frozen=True)
class Job:
    """What the process of one run needs to know; stands in the run's folder as ``run.json``.

    Attributes:
        block: Name of the block.
        method: Name of the method.
        data_set: Name of the data set that it is trained on.
        seed: Seed of the training.
        iterations: Iterations of the training.
        weights: As in :class:`hsonet_mm.leaderboard.plan.Contender`.
        config_hash: As in :class:`hsonet_mm.leaderboard.plan.Contender`.
        test_sets: Roots of the data sets to test on by name, as written in the spec.
    """

    block: str
    method: str
    data_set: str
    seed: int
    iterations: int
    weights: str
    config_hash: str
    test_sets: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> 'Job':
        """Read a ``run.json``."""
        return cls(**json.loads(path.read_text(encoding='utf-8')))

    @property
    def key(self) -> dict[str, Any]:
        """What tells the run from the others, as columns of the tables."""
        return {name: getattr(self, name) for name in ('block', 'method', 'data_set', 'seed')}


def write_job(spec: Spec, run: Run, contender: Contender, out: Path) -> Path:
    """Make the folder of a run, with ``config.py`` and ``run.json``.

    What another config left there is removed, but for the rows of its scorings.

    Returns:
        The path of ``run.json``.

    Raises:
        UserError: if another process works on the run.
    """
    tests = spec.data if spec.cross_test else {run.data_set: spec.data[run.data_set]}
    job = Job(
        **run.key,
        iterations=spec.iterations,
        weights=contender.weights,
        config_hash=contender.config_hash,
        test_sets=dict(tests),
    )
    cfg = copy.deepcopy(contender.config)
    cfg.setdefault('randomness', {})['seed'] = run.seed
    for loader in LOADERS:
        cfg[loader].dataset.data_root = spec.data[run.data_set]
    cfg.pop('data_root', None)  # of the recipe, where it was written once for all loaders
    folder = out / run.folder
    cfg.work_dir = str(folder / 'work_dir')
    path = folder / 'run.json'
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if path.exists() and Job.read(path).config_hash != job.config_hash:
            _clear(folder)
        write_text(folder / 'config.py', _as_python(cfg))
        write_json(path, asdict(job))
    return path


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process that works on a run, on all machines that share the folder.

    Raises:
        UserError: if another one does.
    """
    import fcntl

    with (folder / 'lock').open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f'another process works on {folder}: wait for it, or end it') from None
        yield


def _as_python(cfg: Config) -> str:
    """The config as a file; MMEngine's own way of it takes a second to lay it out."""
    lines = ['"""One run of a leaderboard; train it alone with: hsonet train FILE."""\n']
    for key, value in cfg.to_dict().items():
        lines.append(f'{key} = {pprint.pformat(value, width=110, sort_dicts=False)}')
    return '\n'.join(lines) + '\n'


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name in ('parts', 'lock'):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
