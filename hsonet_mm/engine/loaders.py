"""Data loaders of MMEngine's loops."""

from typing import Any

__all__ = ['end_workers']


def end_workers(runner: Any) -> None:
    """End the processes of a runner's data loaders.

    Left to the garbage collector, which closes the queue that would tell them to end, PyTorch waits five seconds for
    each, stops it, and may take that for a failure: ``DataLoader worker is killed by signal: Terminated``.

    Args:
        runner: A ``Runner`` that has done its work; it may go on to use its loaders.
    """
    for loop in (getattr(runner, f'_{name}_loop', None) for name in ('train', 'val', 'test')):
        holders: list[Any] = [getattr(loop, name, None) for name in ('dataloader_iterator', 'dataloader')]
        for holder in holders:
            iterator: Any = getattr(holder, '_iterator', None)
            if hasattr(iterator, '_shutdown_workers'):
                iterator._shutdown_workers()
                holder._iterator = None
