"""``hsonet leaderboard``: train and score the missing runs of a spec, then write the report.

What the models cost is measured first, one at a time, so the machine should be idle then.
"""

import argparse
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch

from hsonet_mm import components  # noqa: F401
from hsonet_mm.commands.options import add_worker_options, check_worker_options, gpus_of
from hsonet_mm.errors import UserError
from hsonet_mm.files import lock, write_json, write_text
from hsonet_mm.leaderboard import records
from hsonet_mm.leaderboard.job import Job, as_python, write_job
from hsonet_mm.leaderboard.plan import Contender, contenders
from hsonet_mm.leaderboard.run import BUSY, failure
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.texts import counted, decode_text
from hsonet_mm.workers import Event, run_jobs

__all__ = ['add_arguments', 'run']

BUSY_LOAD = 0.25
"""Load average a core from which on times are not to be trusted: beside tests a network took 3.3 s instead of 0.1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet leaderboard``."""
    parser.add_argument('spec', type=Path, help='YAML file of methods, data sets, seeds and budget')
    parser.add_argument('-o', '--out', type=Path, required=True, help='folder of tables, runs and report')
    add_worker_options(parser)
    parser.add_argument('--seeds', type=int, nargs='+', help='only these seeds of the spec')
    parser.add_argument('--methods', nargs='+', help='only these methods of the spec')
    parser.add_argument('--data', nargs='+', help='train only on these data sets of the spec')
    parser.add_argument('--report-only', action='store_true', help='only write the report again')
    parser.add_argument('--no-pictures', action='store_true', help='leave the gallery out of the report')
    parser.add_argument('--dry-run', action='store_true', help='only check the spec and list the runs')


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet leaderboard``; returns 0, or 1 if a run failed."""
    load = os.getloadavg()[0]  # before models are built here
    check_worker_options(args)
    gpus, there = gpus_of(args), torch.cuda.device_count()
    if not all(gpu < there for gpu in gpus):
        raise UserError(
            f'invalid --gpus {args.gpus} on a machine with {there} GPUs: expected numbers from 0, such as 0,1'
        )
    spec, out = read_spec(args.spec), args.out
    if out.exists() and not out.is_dir():
        raise UserError(f'{out} is a file: name a folder for the leaderboard with --out')
    runs = list(spec.runs(args.seeds, args.methods, args.data))
    failed: list[records.Run] = []
    if args.report_only:
        if not (out / 'results.csv').is_file() and not (out / 'runs').is_dir():
            raise UserError(
                f'{out} contains no leaderboard: give the folder of one, or leave --report-only out'
            )
        _keep_spec(spec, out)
    else:
        ready = contenders(spec, runs)
        todo = _missing(out, spec, runs, ready)
        print(f'{counted(len(runs), "run")}, done before: {len(runs) - len(todo)}', flush=True)
        if args.dry_run:
            for one in runs:
                print(f'  {"to do" if one in todo else "done "}  {one}')
            return 0
        _keep_spec(spec, out)
        _keep_configs(ready, out)
        costs = _costs(args, {one[:2]: ready[one[:2]] for one in todo}, gpus, load)
        jobs = {write_job(spec, one, ready[one[:2]], costs[one[:2]], out): one for one in todo}
        failed = _execute(args, jobs, gpus)
    records.gather(out)
    from hsonet_mm.leaderboard.report import write_report  # Matplotlib takes a second to import

    print(f'Report: {write_report(out, pictures=not args.no_pictures)}')
    return 1 if failed else 0


def _missing(
    out: Path, spec: Spec, runs: Sequence[records.Run], ready: Mapping[tuple[str, str], Contender]
) -> list[records.Run]:
    """The runs whose newest scoring failed, or lacks a test set or protocol with this config on these files."""
    rows = records.read(out / 'results.csv')
    rows += [row for one in runs for row in records.read_parts(out / one.folder, 'results')]
    of_run = defaultdict(list)
    for row in rows:
        of_run[records.run_of(row)].append(row)
    return [one for one in runs if not Job.of(spec, one, ready[one[:2]]).is_done(of_run[one])]


def _keep_spec(spec: Spec, out: Path) -> None:
    """Save the spec beside the results, where the report reads it."""
    kept = out / 'spec.yaml'
    if spec.path.resolve() == kept.resolve():
        return
    if kept.is_file():
        there = {records.run_of(row) for row in records.read(out / 'results.csv') if row['status'] == 'ok'}
        try:
            lost = (there & set(read_spec(kept).runs())) - set(spec.runs())
        except UserError as error:
            raise UserError(f'{error}, or delete {kept} to follow {spec.path}') from None
        if lost:
            raise UserError(
                f'{out} contains the leaderboard of another spec, with runs that {spec.path} does not '
                f'list, such as {" / ".join(map(str, min(lost)))}: give another --out, run part of one '
                f'spec with --data, --methods and --seeds, or delete {kept} to follow {spec.path}'
            )
    text = decode_text(spec.path.read_bytes()).replace('\r\n', '\n')
    note = '# A copy; the paths of configs are relative to'
    write_text(kept, text if text.startswith(note) else f'{note} {spec.path.as_posix()}\n{text}')


def _keep_configs(ready: Mapping[tuple[str, str], Contender], out: Path) -> None:
    """Save the hashes of all configs, so that the report ignores rows of outdated configs."""
    hashes: dict[str, dict[str, str]] = {}
    for (block, method), one in ready.items():
        hashes.setdefault(block, {})[method] = one.config_hash
    write_json(out / 'configs.json', hashes)


def _costs(
    args: argparse.Namespace,
    contenders: Mapping[tuple[str, str], Contender],
    gpus: Sequence[int],
    load: float,
) -> dict[tuple[str, str], dict[str, Any]]:
    """The cost of each model, measured one at a time if missing; empty if the measurement fails.

    ``load`` is the load average of the machine before the command.
    """
    configs = {key: args.out / 'costs' / f'{one.config_hash}.py' for key, one in contenders.items()}
    with _alone(args.out / 'costs'):
        _measure(args, contenders, configs, gpus, load)
    return {key: _cost(path) or {} for key, path in configs.items()}


def _measure(
    args: argparse.Namespace,
    contenders: Mapping[tuple[str, str], Contender],
    configs: Mapping[tuple[str, str], Path],
    gpus: Sequence[int],
    load: float,
) -> None:
    """Measure what the models cost whose figures are not there."""
    new = {path: key for key, path in configs.items() if _cost(path) is None}
    if new and load > BUSY_LOAD * (os.cpu_count() or 1):
        print(
            f'The machine is busy (load {load:.1f}), so times of predictions will be too long: if they matter, stop '
            f'the leaderboard, delete {args.out / "costs"}, and start it when nothing else runs',
            flush=True,
        )
    for path, key in new.items():
        write_text(path, as_python(contenders[key].config))
    events = run_jobs(list(new), 'hsonet_mm.leaderboard.cost', args.engine, 1, gpus, args.ray_address)
    with closing(events):
        for event in events:
            if event.code is not None:
                there = _cost(event.job) is not None
                words = 'measured' if there else f'not known, see {event.job.with_name("log.txt")}'
                print(f'cost of {" / ".join(new[event.job])}: {words} ({event.seconds:.0f} s)', flush=True)


def _cost(config: Path) -> dict[str, Any] | None:
    """The figures beside the config of a model; None if they are not there, or damaged."""
    try:
        return dict(json.loads(config.with_suffix('.json').read_text(encoding='utf-8')))
    except (OSError, ValueError):
        return None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other leaderboard measures for this folder, since two would take each other's time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('w') as file:
        if not lock(file):
            print('Another process measures what the models cost: waiting for it', flush=True)
            while not lock(file):
                time.sleep(1)
        yield


def _execute(
    args: argparse.Namespace, jobs: dict[Path, records.Run], gpus: Sequence[int]
) -> list[records.Run]:
    """Execute runs, with a line for each that starts or ends; returns those that failed."""
    start = time.monotonic()
    numbers = {job: number for number, job in enumerate(jobs, 1)}
    before = {job: _last_scoring(job.parent) for job in jobs}
    failed, elsewhere = [], 0
    events = run_jobs(
        list(jobs), 'hsonet_mm.leaderboard.run', args.engine, args.workers, gpus, args.ray_address
    )
    with closing(events):
        for event in events:
            name = f'[{numbers[event.job]}/{len(jobs)}] {jobs[event.job]}'
            if event.code is None:
                print(f'{name}: started', flush=True)
                continue
            if event.code == BUSY:
                elsewhere += 1
                print(f'{name}: left to another process, which uses {event.job.parent}', flush=True)
                continue
            ok, words = _outcome(event, before[event.job])
            if not ok:
                failed.append(jobs[event.job])
            print(f'{name}: {words} ({event.seconds:.0f} s)', flush=True)
            records.gather(args.out)
    if jobs:
        left = f', {elsewhere} left to another process' if elsewhere else ''
        print(f'{counted(len(jobs), "run")} in {time.monotonic() - start:.0f} s, {len(failed)} failed{left}')
    for one in failed:
        print(f'  failed: {one}, see {args.out / one.folder / "log.txt"}')
    return failed


def _outcome(event: Event, before: str) -> tuple[bool, str]:
    """Whether a run has results, and a message; a process that wrote no row gets one here.

    ``before`` is the time of its last scoring before.
    """
    folder = event.job.parent
    if event.error:
        sentence = event.error
    elif event.code in (-signal.SIGKILL, -signal.SIGTERM):
        sentence = f'the process was ended by {signal.Signals(-event.code).name}, perhaps for want of memory'
    else:
        sentence = f'the process ended with code {event.code}'
    job = Job.read(event.job)
    # A process that finds the run done, by another leaderboard meanwhile, writes nothing either.
    done = not event.code and job.is_done(records.read_parts(folder, 'results'))
    if _last_scoring(folder) == before and not done:
        records.write_part(folder, records.now(), failure(job, folder, sentence))
    rows = records.newest(records.read_parts(folder, 'results'))
    if rows[0]['status'] != 'ok':
        return False, rows[0]['status']
    return True, _score(rows) + (f'; the figures are whole, but then {sentence}' if event.code else '')


def _last_scoring(folder: Path) -> str:
    """Time of the last scoring of a run, failures included; empty where there is none."""
    return max((row['scored_at'] for row in records.read_parts(folder, 'results')), default='')


def _score(rows: Sequence[records.Row]) -> str:
    """The scores of a run in a few words."""
    f1 = {
        row['threshold_rule']: float(row['f1'])
        for row in rows
        if (row['split'], row['protocol'], row['test_set']) == ('test', 'whole', row['data_set'])
    }
    return f'changed F1 {f1["half"]:.4f}, {f1["val"]:.4f} at the threshold of val'
