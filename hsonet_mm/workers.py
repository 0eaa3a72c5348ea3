"""Worker processes, for runs of a leaderboard and for scenes: on this machine, on its GPUs, or on a Ray cluster.

A job is a process of its own in any case, so it has its own memory, and a crash ends it alone. Ray only chooses the
machine: the output folder and the data must be on a file system that all machines share, under the same paths.
"""

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsonet_mm.cores import usable_cores
from hsonet_mm.errors import UserError

__all__ = ['ENGINES', 'Event', 'LocalProcesses', 'launch', 'run_jobs']

ENGINES = ('local', 'ray')
PATIENCE = 10
"""Seconds that a process has to end before it is killed."""
ENDS = [number for number in signal.Signals if number.name in ('SIGTERM', 'SIGHUP')]
"""Signals that would end this process and leave its jobs running; Windows has one of them."""


@dataclass(frozen=True)
class Event:
    """The start of a job, without a code, or its end: exit code, negative for a signal, or why it was not executed."""

    job: Path
    code: int | None = None
    seconds: float = 0.0
    error: str = ''


def run_jobs(
    jobs: Sequence[Path],
    module: str,
    engine: str = 'local',
    workers: int | None = None,
    gpus: Sequence[int] = (),
    address: str | None = None,
) -> Generator[Event, None, None]:
    """Execute jobs, several at a time; they end if the iteration stops, on SIGTERM, or if the terminal is closed.

    Yields two events a job, at its start and at its end.

    Args:
        jobs: The file of each, in a folder of its own.
        module: What to execute, ``python -m MODULE JOB --started SECONDS``.
        engine: One of ENGINES.
        workers: How many at a time; by default one, or one for each GPU, or for each machine of a cluster.
        gpus: GPUs of this machine to use in turns; Ray finds those of its machines itself, one for a job.
        address: Address of a Ray cluster; by default one is started on this machine.

    Raises:
        UserError: if Ray is asked for and not installed, or its cluster cannot be reached.
        KeyboardInterrupt: at SIGTERM and SIGHUP, unless they are ignored as under ``nohup``.
    """
    if not jobs:
        return
    runner: _Ray | LocalProcesses = (
        _Ray(module, workers, address) if engine == 'ray' else LocalProcesses(module, workers, gpus)
    )
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
    stopped = threading.Event()
    for job in jobs:
        waiting.put(job)

    def work(slot: int) -> None:
        while not stopped.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            events.put(Event(job))
            start = time.monotonic()
            try:
                code, error = runner.execute(job, slot), ''
            except Exception as problem:
                code, error = -1, f'{type(problem).__name__}: {problem}'
            events.put(Event(job, code, time.monotonic() - start, error))

    threads = [
        threading.Thread(target=work, args=(slot,), daemon=True)
        for slot in range(min(runner.workers, len(jobs)))
    ]
    with _ended_politely():
        try:
            for thread in threads:
                thread.start()
            ended = 0
            while ended < len(jobs):
                event = events.get()
                ended += event.code is not None
                yield event
        finally:
            stopped.set()
            runner.stop()
            for thread in threads:
                thread.join(2 * PATIENCE)


@contextlib.contextmanager
def _ended_politely() -> Iterator[None]:
    """Take the first SIGTERM or SIGHUP for an interrupt, and no further one, so that processes are ended too.

    Ignored ones stay so, as under ``nohup``. Only the main thread can take any.
    """
    main = threading.current_thread() is threading.main_thread()
    numbers = [number for number in ENDS if main and signal.getsignal(number) != signal.SIG_IGN]

    def interrupt(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def launch(job: str, module: str, env: Mapping[str, str], processes: set[Any] | None = None) -> int:
    """Execute one job in a process of its own and wait for it; its output goes to ``log.txt`` beside its file.

    Returns its exit code. While the process runs it is in ``processes``, so that another thread can end it.
    """
    command = [sys.executable, '-m', module, job, '--started', str(time.time())]
    processes = set() if processes is None else processes
    with Path(job).with_name('log.txt').open('ab') as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            start_new_session=True,  # a group of its own, to be ended with the workers of its data loaders
        )
        processes.add(process)
        try:
            return process.wait()
        finally:
            processes.discard(process)
            _end(process)


def _end(process: Any) -> None:
    """End a process and its group, by SIGTERM first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


class _Processes(set[Any]):
    """The processes that run. Once it is closed, one that was just being started is ended when it comes."""

    closed = False

    def add(self, process: Any) -> None:
        super().add(process)
        if self.closed:
            _end(process)


class LocalProcesses:
    """Processes of this machine, which share its cores and take turns on its GPUs."""

    def __init__(self, module: str, workers: int | None, gpus: Sequence[int]) -> None:
        self.module = module
        self.workers = workers or len(gpus) or 1
        self.gpus = gpus
        self.processes = _Processes()

    def execute(self, job: Path, slot: int) -> int:
        """Execute a job and wait for it; returns the exit code of its process."""
        env = (
            {}
            if 'OMP_NUM_THREADS' in os.environ
            else {'OMP_NUM_THREADS': str(max(1, usable_cores() // self.workers))}
        )
        if self.gpus:
            env['CUDA_VISIBLE_DEVICES'] = str(self.gpus[slot % len(self.gpus)])
        return launch(str(job), self.module, env, self.processes)

    def stop(self) -> None:
        """End all processes; none is started afterwards."""
        self.processes.closed = True
        for process in list(self.processes):
            _end(process)


class _Ray:
    """A Ray cluster: each job is a task that waits for its process."""

    def __init__(self, module: str, workers: int | None, address: str | None) -> None:
        self.module = module
        try:
            import ray
        except ImportError:
            raise UserError('--engine ray needs Ray: pip install "hsonet_mm[ray]"') from None
        self.ray = ray
        cpus = None if address else max(workers or 1, usable_cores())
        try:
            ray.init(
                address or 'local',
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f'the Ray cluster {address or ""} cannot be used ({reason}): check its address'
            ) from error
        resources = ray.cluster_resources()
        gpus = int(resources.get('GPU', 0))
        self.workers = workers or gpus or sum(node['Alive'] for node in ray.nodes())
        largest = max(int(node['Resources'].get('CPU', 0)) for node in ray.nodes() if node['Alive'])
        share = min(largest, int(resources.get('CPU', 1)) // self.workers)
        cores = max(1, share)  # Ray sets OMP_NUM_THREADS to it
        self.task = ray.remote(num_cpus=cores, num_gpus=1 if gpus else 0, max_retries=0)(launch)
        self.task = self.task.options(scheduling_strategy='SPREAD')
        self.running: set[Any] = set()

    def execute(self, job: Path, slot: int) -> int:  # noqa: ARG002
        task = self.task.remote(str(job), self.module, {})
        self.running.add(task)
        try:
            return int(self.ray.get(task))
        finally:
            self.running.discard(task)

    def stop(self) -> None:
        for task in list(self.running):
            self.ray.cancel(task)
        if self.running:
            time.sleep(1)  # for the tasks to end their processes
        self.ray.shutdown()
