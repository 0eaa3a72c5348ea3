"""The C library's memory: kept instead of given back after every layer of a network, or given back at once."""

import ctypes
import os
from typing import Any

__all__ = ['give_back_memory', 'keep_memory']

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 2**31 - 1
LARGEST_BEFORE = 32 * 2**20
"""What older versions of glibc accept at most: half of one of their heaps."""


def keep_memory() -> bool:
    """Tell glibc to keep what is freed for the next allocation, for processes that run a network; whether it was told.

    Otherwise every large tensor is mapped anew, filled with zeros by the kernel and unmapped, which is a fifth to a
    third of the time of an inference on a CPU. Other C libraries are left alone, and so is a glibc that the environment
    tells what to do (``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``, ``GLIBC_TUNABLES``).
    """
    if any(name.startswith('MALLOC_') for name in os.environ) or 'malloc' in os.environ.get(
        'GLIBC_TUNABLES', ''
    ):
        return False
    if (libc := _glibc()) is None:
        return False
    told = libc.mallopt(M_MMAP_THRESHOLD, LARGEST) or libc.mallopt(M_MMAP_THRESHOLD, LARGEST_BEFORE)
    return bool(told and libc.mallopt(M_TRIM_THRESHOLD, LARGEST))


def give_back_memory() -> bool:
    """Have glibc return what is free to the system, before a step that needs memory in blocks of other sizes.

    Returns:
        Whether there was anything to return.
    """
    libc = _glibc()
    return libc is not None and bool(libc.malloc_trim(0))


def _glibc() -> Any:
    """The C library where it is glibc, else None."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018
    except (OSError, TypeError, AttributeError):  # Windows, macOS, musl
        return None
    return libc
