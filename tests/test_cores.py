"""How many threads runtimes get that do not ask the environment themselves."""

import os
import subprocess
import sys

import pytest

from hsonet_mm import cores

pytestmark = pytest.mark.any_host


@pytest.mark.parametrize(
    ('given', 'usable', 'expected'),
    [
        (None, 8, None),  # nothing restricts: the runtime chooses
        (None, 3, 3),
        ('2', 8, 2),
        ('2', 3, 2),
        (' 4,2', 8, 4),  # of nested regions, the outer one
        ('0', 8, 1),
        ('many', 3, 3),
        ('', 8, None),
    ],
)
def test_threads(monkeypatch, given, usable, expected):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if given is not None:
        monkeypatch.setenv('OMP_NUM_THREADS', given)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.setattr(cores, 'usable_cores', lambda: usable)
    assert cores.default_threads() == expected


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='this system binds no process to cores')
def test_a_process_that_is_bound_to_one_core():
    code = (
        'import os\n'
        'from hsonet_mm.cores import usable_cores\n'
        'os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n'
        'print(usable_cores())'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '1'
