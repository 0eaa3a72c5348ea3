"""``hsonet leaderboard``: train and score what is missing of a spec, then write the report."""

import argparse
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import torch

from hsonet_mm.errors import UserError
from hsonet_mm.files import write_bytes
from hsonet_mm.leaderboard import records
from hsonet_mm.leaderboard.job import Job, write_job
from hsonet_mm.leaderboard.plan import Contender, contenders
from hsonet_mm.leaderboard.run import BUSY, FAILED, failure
from hsonet_mm.leaderboard.spec import Run, Spec
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.workers import ENGINES, Event, run_jobs

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet leaderboard``."""
    parser.add_argument('spec', type=Path, help='YAML file of methods, data sets, seeds and budget')
    parser.add_argument('--out', type=Path, required=True, help='folder of tables, runs and report')
    parser.add_argument('--workers', type=int, help='runs at a time [1, or one a GPU, or one a machine]')
    parser.add_argument('--gpus', help='GPUs of this machine to use, such as 0,1')
    parser.add_argument('--engine', choices=ENGINES, default='local', help='where runs are executed [local]')
    parser.add_argument(
        '--ray-address', help='Ray cluster whose machines share the folder [one started on this machine]'
    )
    parser.add_argument('--seeds', type=int, nargs='+', help='only these seeds of the spec')
    parser.add_argument('--methods', nargs='+', help='only these methods of the spec')
    parser.add_argument('--data', nargs='+', help='train on these data sets of the spec only')
    parser.add_argument('--report-only', action='store_true', help='run nothing, write the report again')
    parser.add_argument('--no-pictures', action='store_true', help='leave the gallery out of the report')
    parser.add_argument('--dry-run', action='store_true', help='check the spec and list the runs, no more')


def run(args: argparse.Namespace) -> int:
    """Run as the command line says; returns 0, or 1 if a run failed."""
    gpus = _gpus(args)
    spec, out = read_spec(args.spec), args.out
    runs = list(spec.runs(args.seeds, args.methods, args.data))
    failed: list[Run] = []
    if args.report_only:
        if not out.is_dir():
            raise UserError(
                f'{out} does not exist: give the folder of a leaderboard, or leave --report-only out'
            )
        _copy_spec(spec, out)
    else:
        ready = contenders(spec)
        todo = _missing(out, runs, ready)
        print(f'{len(runs)} runs, {len(runs) - len(todo)} of them done before', flush=True)
        if args.dry_run:
            for one in runs:
                print(f'  {"to do" if one in todo else "done "}  {one}')
            return 0
        _copy_spec(spec, out)
        jobs = {write_job(spec, one, ready[one.block.name, one.method.name], out): one for one in todo}
        failed = _execute(args, jobs, gpus)
    records.gather(out)
    from hsonet_mm.leaderboard.report import write_report  # Matplotlib takes a second to import

    print(f'Report: {write_report(out, pictures=not args.no_pictures)}')
    return 1 if failed else 0


def _gpus(args: argparse.Namespace) -> list[int]:
    """The GPUs to use, after a look at the other options."""
    if args.workers is not None and args.workers < 1:
        raise UserError(f'--workers {args.workers} runs nothing: give 1 or more')
    if args.ray_address and args.engine != 'ray':
        raise UserError('--ray-address is for Ray: add --engine ray')
    if args.gpus is None:
        return []
    if args.engine == 'ray':
        raise UserError('--gpus is for --engine local: Ray finds the GPUs of its machines, one for each run')
    there = torch.cuda.device_count()
    gpus = [int(text) if text.isdecimal() else -1 for text in args.gpus.split(',')]
    if not all(0 <= gpu < there for gpu in gpus):
        raise UserError(
            f'--gpus {args.gpus} does not fit the {there} GPUs found here: give numbers from 0, such as 0,1'
        )
    return gpus


def _missing(out: Path, runs: Iterable[Run], ready: dict[tuple[str, str], Contender]) -> list[Run]:
    """The runs whose last scoring is not there, failed, or is of another config."""
    runs = list(runs)
    rows = records.read(out / 'results.csv')
    rows += [row for one in runs for row in records.read_parts(out / one.folder, 'results')]
    done = {
        (*records.run_key(row), row['config_hash']) for row in records.newest(rows) if row['status'] == 'ok'
    }
    return [
        one
        for one in runs
        if (*records.run_key(one.key), ready[one.block.name, one.method.name].config_hash) not in done
    ]


def _copy_spec(spec: Spec, out: Path) -> None:
    """Keep the spec with the figures; the report reads it there."""
    if spec.path.resolve() != (out / 'spec.yaml').resolve():
        write_bytes(out / 'spec.yaml', spec.path.read_bytes())


def _execute(args: argparse.Namespace, jobs: dict[Path, Run], gpus: Sequence[int]) -> list[Run]:
    """Execute runs, with a line for each that starts or ends; returns those that failed."""
    start = time.monotonic()
    numbers = {job: number for number, job in enumerate(jobs, 1)}
    failed = []
    events = run_jobs(
        list(jobs), 'hsonet_mm.leaderboard.run', args.engine, args.workers, gpus, args.ray_address
    )
    with _ended_politely(), closing(events):
        for event in events:
            name = f'[{numbers[event.job]}/{len(jobs)}] {jobs[event.job]}'
            if event.code is None:
                print(f'{name}: started', flush=True)
                continue
            problem = _problem(event)
            if problem:
                failed.append(jobs[event.job])
            print(f'{name}: {problem or _score(event)} ({event.seconds:.0f} s)', flush=True)
            records.gather(args.out)
    if jobs:
        print(f'{len(jobs)} runs in {time.monotonic() - start:.0f} s, {len(failed)} failed')
    for one in failed:
        print(f'  failed: {one}, see {args.out / one.folder / "log.txt"}')
    return failed


def _problem(event: Event) -> str:
    """Why a run failed, or nothing; a process that could not write its row any more gets one here."""
    folder = event.job.parent
    if event.code == 0:
        return ''
    if event.code == FAILED:
        return records.read_parts(folder, 'results')[-1]['status']
    if event.code == BUSY:
        return f'failed: another process works on {folder}'
    if event.error:
        sentence = event.error
    elif event.code in (-signal.SIGKILL, -signal.SIGTERM):
        sentence = f'the process was ended by {signal.Signals(-event.code).name}, perhaps for want of memory'
    else:
        sentence = f'the process ended with code {event.code}'
    rows = failure(Job.read(event.job), sentence)
    records.write_part(folder, records.now(), rows)
    return rows['results'][0]['status']


def _score(event: Event) -> str:
    """The figures of a run in a few words."""
    job = Job.read(event.job)
    rows = records.newest(records.read_parts(event.job.parent, 'results'))
    f1 = {
        row['threshold_rule']: float(row['f1'])
        for row in rows
        if (row['split'], row['protocol'], row['test_set']) == ('test', 'whole', job.data_set)
    }
    return f'changed F1 {f1["half"]:.4f}, {f1["val"]:.4f} at the threshold of val'


@contextmanager
def _ended_politely() -> Iterator[None]:
    """Take SIGTERM for an interrupt, so that the processes of the runs are ended too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
