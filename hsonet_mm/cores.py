"""Numbers of cores and threads that this process may use."""

import os
import re

__all__ = ['default_threads', 'usable_cores']


def usable_cores() -> int:
    """Number of cores that ``taskset``, a batch system or a container allow this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def default_threads() -> int | None:
    """Number of threads for a runtime that itself respects neither ``OMP_NUM_THREADS`` nor the allowed cores.

    Returns:
        The value of ``OMP_NUM_THREADS``, which PyTorch follows too; without it the number of usable cores if those are
        not all of the machine's; else None, for the runtime's own choice.
    """
    if given := re.match(r'\s*(\d+)', os.environ.get('OMP_NUM_THREADS', '')):
        return max(1, int(given[1]))
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else None
