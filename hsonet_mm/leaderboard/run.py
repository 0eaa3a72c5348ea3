"""One run of a leaderboard in a process of its own: train or load published weights, score, and write the rows.

``python -m hsonet_mm.leaderboard.run RUN.json``, with what :func:`hsonet_mm.leaderboard.job.write_job` wrote. It goes
on from the latest checkpoint, if there is one; what is trained already is only scored. Whatever ends the run, short of
a kill, becomes a row.

Its time has three parts. ``train_seconds``: the training as MMEngine runs it, with loading of data, validations and
checkpoints; over all processes, if it was resumed. Scoring: val and test splits are predicted and counted; this is
evaluation, which any study pays for. ``harness_seconds``: everything else from the start of this process to the row,
such as imports, building the model and reading the log; this is what the harness costs.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from hsonet_mm import __version__
from hsonet_mm.checkpoints import load_weights
from hsonet_mm.config import expand_variables, set_up_loaders
from hsonet_mm.engine.start import AUTO
from hsonet_mm.engine.training import train
from hsonet_mm.errors import UserError
from hsonet_mm.files import write_json
from hsonet_mm.leaderboard import cost, records
from hsonet_mm.leaderboard.job import Job, alone, take_over
from hsonet_mm.leaderboard.resuming import ResumptionHook
from hsonet_mm.leaderboard.scoring import Tables, score
from hsonet_mm.machine import device_name
from hsonet_mm.mistakes import explain
from hsonet_mm.training_log import read_log

__all__ = ['BUSY', 'FAILED', 'code_version', 'execute', 'failure', 'forget_checkpoints', 'main']

FAILED = 1
"""Exit code of a run that failed; its row tells why."""
BUSY = 3
"""Exit code where another process works on the run; no row is written."""


def main(argv: Sequence[str] | None = None) -> int:
    """Execute a run; returns the exit code."""
    commit = code_version()  # at once: the checkout may change while this process trains
    here = {'device': device_name(), 'commit': commit}
    parser = argparse.ArgumentParser(description='One run of a leaderboard.')
    parser.add_argument('job', type=Path, metavar='RUN.json')
    parser.add_argument('--started', type=float, default=time.time(), help='when the process was started')
    args = parser.parse_args(argv)
    folder, job = args.job.parent, Job.read(args.job)
    try:
        with alone(folder):
            if job.is_done(records.read_parts(folder, 'results')):
                return 0  # another process was faster: its test splits stay opened once
            try:
                take_over(folder, job)
                tables = execute(job, folder, args.started, here)
            except Exception as error:
                traceback.print_exc()
                sentence = explain(error) or f'{type(error).__name__}: {error}'
                records.write_part(folder, records.now(), failure(job, folder, sentence, here))
                return FAILED
            records.write_part(folder, records.now(), tables)
            return 0
    except UserError as error:
        print(error, file=sys.stderr)
        return BUSY


def execute(job: Job, folder: Path, started: float, here: Mapping[str, str]) -> Tables:
    """Train, unless that was done before or the weights are published, and score.

    Returns the rows of all tables.
    """
    cfg = Config.fromfile(str(folder / 'config.py'))
    cfg.work_dir = str(folder / 'work_dir')  # also where the folder was moved
    cfg.resume = AUTO
    set_up_loaders(cfg)
    # One more than asked for: MMEngine deletes before it saves, and a kill may come between.
    cfg.default_hooks.checkpoint.max_keep_ckpts += 1
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), {'type': 'hsonet_mm.ResumptionHook'}]
    if job.checkpoint is None:
        model, trained, spent = _train(cfg, folder / 'trained.json', here)
    else:
        model, trained, spent = Runner.from_cfg(cfg).model, dict(here), 0.0
        load_weights(model, expand_variables(job.checkpoint))
    start = time.perf_counter()
    tables = score(model, cfg, job.test_sets, folder)
    spent += time.perf_counter() - start
    tables['training'] = training_log(folder / 'work_dir')
    facts = {**_facts(job), **job.cost, **trained, 'status': 'ok'}
    if trained['commit'] != here['commit']:
        facts['commit'] += f', scored by {here["commit"]}'
    facts['harness_seconds'] = round(time.time() - started - spent, 3)
    for row in tables['results']:
        test_set = row.setdefault('test_set', job.data_set)
        row.update(facts, data_hash=job.data_hashes[test_set])
        if row['split'] == 'test':
            row['openings'] = records.openings(folder, test_set)
    return {name: [{**job.run._asdict(), **row} for row in rows] for name, rows in tables.items()}


def failure(job: Job, folder: Path, sentence: str, here: Mapping[str, str] | None = None) -> Tables:
    """The rows of a failed run: one, and one for each further test split that it has used."""
    facts = {
        **job.run._asdict(),
        **_facts(job),
        **(here or {}),
        'status': f'failed: {" ".join(sentence.split())}',
    }
    opened = {test_set: records.openings(folder, test_set) for test_set in job.test_sets}
    return {
        'results': [
            {**facts, 'test_set': test_set, 'openings': times}
            for test_set, times in opened.items()
            if times or test_set == job.data_set
        ]
    }


def training_log(work_dir: Path) -> list[dict[str, Any]]:
    """The rows of ``training``: what MMEngine logged."""
    names = {
        'changed/f1': 'val_f1',
        'changed/best_f1': 'val_best_f1',
        **{name: name for name in records.LOGGED},
    }
    return [
        {'iteration': record['step'], **{names[key]: value for key, value in record.items() if key in names}}
        for record in read_log(work_dir)
    ]


def _train(cfg: Config, note: Path, here: Mapping[str, str]) -> tuple[Any, dict[str, Any], float]:
    """Train, or find the finished training of an earlier process.

    ``note`` is what a finished training leaves beside its best checkpoint. Returns the model with the weights of the
    best validation, columns of ``results``, and seconds of training in this process.
    """
    work_dir, spent = Path(cfg.work_dir), 0.0
    left = json.loads(note.read_text(encoding='utf-8')) if note.exists() else None
    if left and (work_dir / left['checkpoint']).exists():
        runner = Runner.from_cfg(cfg)
    else:
        runner = train(cfg)
        (clock,) = (hook for hook in runner.hooks if isinstance(hook, ResumptionHook))
        spent = clock.seconds_here
        best = Path(runner.message_hub.get_info('best_ckpt'))
        left = {
            'checkpoint': best.name,  # where it was saved may have been another place
            'train_seconds': round(clock.seconds, 3),
            'peak_memory_mib': round(cost.peak_training_memory(), 1),
            **here,
        }
        write_json(note, left)
        forget_checkpoints(work_dir)
    checkpoint = work_dir / left.pop('checkpoint')
    load_weights(runner.model, checkpoint)
    return runner.model, {**left, 'best_iteration': int(checkpoint.stem.rsplit('_', 1)[1])}, spent


def _facts(job: Job) -> dict[str, Any]:
    """Facts about a run that are known before it is executed."""
    return {
        'weights': job.weights,
        'iterations': job.iterations,
        'data_hash': job.data_hashes[job.data_set],
        'config_hash': job.config_hash,
    }


def code_version() -> str:
    """Commit of this package's checkout, with ``+`` if files differ from it; outside a checkout the version."""
    package = Path(__file__).parents[1]

    def git(*args: str) -> str:
        done = subprocess.run(['git', '-C', str(package), *args], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git('ls-files', '--error-unmatch', '__init__.py')  # not some other project's checkout around it
        return git('rev-parse', '--short', 'HEAD') + ('+' if git('status', '--porcelain', '--', '.') else '')
    except (OSError, subprocess.CalledProcessError):
        return f'version {__version__}'


def forget_checkpoints(work_dir: Path) -> None:
    """Delete all checkpoints except the best, because nothing will be resumed; errors are ignored."""
    with suppress(OSError):
        for path in (work_dir / 'last_checkpoint', *work_dir.glob('iter_*.pth')):
            path.unlink(missing_ok=True)


if __name__ == '__main__':
    sys.exit(main())
