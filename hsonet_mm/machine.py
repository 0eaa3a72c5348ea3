"""Properties of the machine, timing and peak memory."""

import platform
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

__all__ = ['device_name', 'has_bf16', 'peak_memory', 'timed']

BF16_FLAGS = {'avx512_bf16', 'amx_bf16', 'bf16', 'svebf16'}
"""Names that Linux gives to instructions for products of bfloat16, on x86 and on ARM."""


def has_bf16() -> bool | None:
    """Whether the processor has instructions for bfloat16, without which PyTorch is slower in it than in float32.

    Linux names the instructions; elsewhere nothing is known, and the answer is None.
    """
    flags = re.search(r'^(?:flags|Features)\s*:(.*)$', _cpuinfo(), re.M)
    return None if flags is None else bool(BF16_FLAGS & set(flags[1].split()))


def device_name() -> str:
    """The GPU if there is one, else the processor and the number of PyTorch's threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = re.search(r'^model name\s*: (.+)$', _cpuinfo(), re.M)
    cpu = name[1] if name else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f'{cpu}, {threads} thread{"s" * (threads > 1)}'


def timed(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of a call; a GPU is synchronised before both readings of the clock."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = clock()
    function()
    wait()
    return clock() - start


def peak_memory() -> float:
    """Peak memory of this process in MiB, without memory on a GPU."""
    status = Path('/proc/self/status')  # on Linux ru_maxrss begins with that of the parent
    if status.exists() and (found := re.search(r'^VmHWM:\s+(\d+) kB', status.read_text(), re.M)):
        return int(found[1]) / 1024
    import resource  # which Windows lacks

    unit = 1 if sys.platform == 'darwin' else 1024  # macOS counts in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _cpuinfo() -> str:
    path = Path('/proc/cpuinfo')
    return path.read_text() if path.exists() else ''
