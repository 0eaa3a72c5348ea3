"""Worker processes: how they share a machine, and that none outlives the command."""

import signal
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from hsonet_mm import workers
from hsonet_mm.errors import UserError

pytestmark = pytest.mark.any_host

MODULE = 'some.module'


@pytest.fixture
def jobs(tmp_path):
    return [tmp_path / str(number) / 'run.json' for number in range(4)]


def test_runs_share_gpus_and_cores(jobs, monkeypatch):
    meeting = threading.Barrier(2, timeout=30)
    seen = []

    def launch(job, module, env, *_):
        assert module == MODULE
        meeting.wait()
        seen.append((env['CUDA_VISIBLE_DEVICES'], env['OMP_NUM_THREADS']))
        return 1 if job == str(jobs[2]) else 0

    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(workers, 'launch', launch)
    monkeypatch.setattr(workers, 'usable_cores', lambda: 6)
    events = list(workers.run_jobs(jobs, MODULE, gpus=[4, 7]))
    assert Counter(seen) == {('4', '3'): 2, ('7', '3'): 2}
    ended = {event.job: event.code for event in events if event.code is not None}
    assert ended == {job: int(job == jobs[2]) for job in jobs}
    assert [event.job for event in events if event.code is None] == jobs
    assert list(workers.run_jobs([], MODULE)) == []


@pytest.fixture
def sleepers(monkeypatch, tmp_path):
    """Runs that do nothing but wait, with a child of their own: a function that tells which processes live."""
    script = tmp_path / 'sleep.sh'
    script.write_text(
        f'#!/bin/sh\necho $$ >> {tmp_path}/pids\nsleep 300 &\necho $! >> {tmp_path}/pids\nwait\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(workers.sys, 'executable', str(script))

    def pids(number):
        file = tmp_path / 'pids'
        patience = time.monotonic() + 30
        while time.monotonic() < patience:
            found = [int(line) for line in file.read_text().split()] if file.exists() else []
            if len(found) == number:
                return found
            time.sleep(0.02)
        raise TimeoutError

    return pids


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='looks at processes in /proc')
def test_interrupt_ends_processes(jobs, sleepers):
    for job in jobs:
        job.parent.mkdir()
    with closing(workers.run_jobs(jobs, MODULE, workers=2)) as events:
        assert [next(events).code, next(events).code] == [None, None]
        pids = sleepers(4)
        assert all(map(alive, pids))
    patience = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < patience:
        time.sleep(0.02)
    assert not any(map(alive, pids))
    assert len(sleepers(4)) == 4  # and no further run was started


@pytest.mark.usefixtures('sleepers')
def test_process_that_starts_while_all_end_is_ended(jobs):
    jobs[0].parent.mkdir()
    local = workers.LocalProcesses(MODULE, 1, [])
    local.stop()
    assert local.execute(jobs[0], 0) < 0  # else it sleeps for minutes, and ends with 0
    assert not local.processes


@pytest.fixture(params=[signal.SIGTERM, signal.SIGHUP])
def number(request):
    """A signal that ends a command, which this process survives."""
    before = signal.signal(request.param, lambda *_: None)
    yield request.param
    signal.signal(request.param, before)


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='looks at processes in /proc')
def test_signal_ends_processes(jobs, sleepers, number):
    for job in jobs:
        job.parent.mkdir()
    before = signal.getsignal(number)
    with closing(workers.run_jobs(jobs, MODULE, workers=2)) as events:
        next(events)
        pids = sleepers(4)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)  # the shell may send another, which must not cut the ending off
    patience = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < patience:
        time.sleep(0.02)
    assert not any(map(alive, pids))
    assert signal.getsignal(number) is before


def test_signal_that_is_ignored_stays_so(jobs, monkeypatch, number):
    """As that of a closed terminal under nohup."""
    signal.signal(number, signal.SIG_IGN)
    monkeypatch.setattr(workers, 'launch', lambda *_: 0)
    with closing(workers.run_jobs(jobs, MODULE)) as events:
        next(events)
        signal.raise_signal(number)
        assert signal.getsignal(number) == signal.SIG_IGN
    assert signal.getsignal(number) == signal.SIG_IGN


def test_ray_names_its_extra(jobs, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(UserError, match=r'pip install "hsonet_mm\[ray\]"'):
        next(workers.run_jobs(jobs, MODULE, 'ray'))
