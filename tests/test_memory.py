"""What glibc is told, and that nothing else is."""

import ctypes
import platform
import subprocess
import sys

import pytest

from hsonet_mm import memory

pytestmark = pytest.mark.any_host

glibc = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library')

# Memory of 64 MiB is mapped on its own, beyond the heap, unless the C library is told to keep it.
PLACE = """
import ctypes
from pathlib import Path
from hsonet_mm.memory import keep_memory
if {keep}:
    assert keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
place = libc.malloc(ctypes.c_size_t(64 * 2**20))
start, end = next(line.split()[0].split('-') for line in open('/proc/self/maps') if '[heap]' in line)
print(int(start, 16) <= place < int(end, 16))
"""


@glibc
@pytest.mark.parametrize('keep', [True, False])
def test_large_blocks_come_from_the_heap(keep):
    command = [sys.executable, '-c', PLACE.format(keep=keep)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == str(keep)


# A freed block of 24 MiB raises the limit of glibc to its size, if nobody says otherwise.
MAPPED = """
import ctypes, sys
from hsonet_mm.memory import map_blocks
if {torch}:
    sys.modules['torch'] = sys
assert map_blocks() == {told}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(ctypes.c_size_t(24 * 2**20)))
place = libc.malloc(ctypes.c_size_t(2**18))
start, end = next(line.split()[0].split('-') for line in open('/proc/self/maps') if '[heap]' in line)
print(int(start, 16) <= place < int(end, 16))
"""


@glibc
@pytest.mark.parametrize('torch', [False, True])
def test_decoded_blocks_are_mapped_where_there_is_no_pytorch(torch):
    command = [sys.executable, '-c', MAPPED.format(torch=torch, told=not torch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(torch)


@pytest.mark.parametrize(
    ('name', 'value'),
    [('MALLOC_MMAP_THRESHOLD_', '65536'), ('GLIBC_TUNABLES', 'glibc.malloc.mmap_threshold=65536')],
)
def test_what_the_environment_says_counts(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, 'torch', None)
    assert not memory.keep_memory()
    assert not memory.map_blocks()


def test_another_c_library_is_left_alone(monkeypatch):
    class Musl:
        def __getattr__(self, name):
            raise AttributeError(name)

    monkeypatch.setattr(ctypes, 'CDLL', lambda _: Musl())
    assert not memory.keep_memory()
    assert not memory.give_back_memory()
    monkeypatch.setitem(sys.modules, 'torch', None)
    assert not memory.map_blocks()


# Of blocks below the threshold for maps of their own, glibc returns only those at the end of the heap by itself.
FREED = """
import re
from pathlib import Path
from hsonet_mm.memory import give_back_memory
def resident():
    return int(re.search(r'VmRSS:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024
blocks = [b'%d' % number * 2**15 for number in range(10, 99) for _ in range(12)]
full, last = resident(), blocks.pop()
blocks.clear()
kept = full - resident()
assert give_back_memory()
print(kept, full - resident())
"""


@glibc
def test_what_is_free_is_given_back():
    command = [sys.executable, '-c', FREED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    by_itself, told = map(float, done.stdout.split())  # MiB, of 67
    assert by_itself < 10
    assert told > 55


def test_an_old_glibc_takes_the_largest_it_knows(monkeypatch):
    told = []

    class Old:
        gnu_get_libc_version = None

        def mallopt(self, option, value):
            told.append((option, value))
            return int(option != memory.M_MMAP_THRESHOLD or value <= 32 * 2**20)

    monkeypatch.setattr(ctypes, 'CDLL', lambda _: Old())
    monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
    assert memory.keep_memory()
    assert (memory.M_MMAP_THRESHOLD, 32 * 2**20) in told
