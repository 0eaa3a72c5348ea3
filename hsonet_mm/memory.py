"""Memory: how the C library keeps or returns it, and which errors mean that it ran out."""

import ctypes
import errno
import os
import re
import sys
from typing import Any

__all__ = ['MAPPED_FROM', 'give_back_memory', 'keep_memory', 'map_blocks', 'out_of_memory']

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 2**31 - 1
LARGEST_BEFORE = 32 * 2**20
"""What older versions of glibc accept at most: half of one of their heaps."""
MAPPED_FROM = 128 * 1024
"""What glibc begins with; GDAL's blocks of decoded pixels are mostly larger."""
_SIGNS = re.compile(
    r"can't allocate memory|not enough memory|out of memory|cannot allocate memory|insufficient memory"
    r'|failed to allocate|bad_?alloc|_ALLOC_FAILED|could not create a memory',
    re.IGNORECASE,
)
"""What PyTorch, CUDA's libraries, ONNX Runtime, OpenVINO, oneDNN, OpenCV, GDAL and the C++ library say."""


def keep_memory() -> bool:
    """Make glibc keep freed memory for the next allocation, for processes that run a network; returns whether it does.

    Otherwise every large tensor is mapped anew, filled with zeros by the kernel and unmapped, which is a fifth to a
    third of the time of an inference on a CPU. Other C libraries are left alone, and so is a glibc that the environment
    tells what to do (``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``, ``GLIBC_TUNABLES``).
    """
    if _told() or (libc := _glibc()) is None:
        return False
    told = libc.mallopt(M_MMAP_THRESHOLD, LARGEST) or libc.mallopt(M_MMAP_THRESHOLD, LARGEST_BEFORE)
    return bool(told and libc.mallopt(M_TRIM_THRESHOLD, LARGEST))


def map_blocks() -> bool:
    """Make glibc map blocks of 128 KiB or more separately, so that they are returned to the system when freed.

    By itself it raises that limit to the largest block freed so far. Then GDAL's blocks and images of other sizes share
    heaps full of gaps, which grow with the size of a scene.

    Returns:
        Whether it was told. Neither a process that has imported PyTorch, which is faster otherwise, nor one whose
        environment says something else is.
    """
    if sys.modules.get('torch') is not None or _told() or (libc := _glibc()) is None:
        return False
    return bool(libc.mallopt(M_MMAP_THRESHOLD, MAPPED_FROM))


def give_back_memory() -> bool:
    """Make glibc return free memory to the system, before a step that allocates blocks of other sizes.

    Returns:
        Whether there was anything to return.
    """
    libc = _glibc()
    return libc is not None and bool(libc.malloc_trim(0))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the machine or a GPU ran out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ in (
        'OutOfMemoryError',
        'CPLE_OutOfMemoryError',
    ):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return _SIGNS.search(str(error)) is not None


def _told() -> bool:
    """Whether the environment tells glibc what to do."""
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    return any(name.startswith('MALLOC_') for name in os.environ) or 'malloc' in tunables


def _glibc() -> Any:
    """The C library where it is glibc, else None."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018
    except (OSError, TypeError, AttributeError):  # Windows, macOS, musl
        return None
    return libc
