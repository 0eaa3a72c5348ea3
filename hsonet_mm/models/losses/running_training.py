"""Access to the running MMEngine training from inside a loss: its progress and its log."""

from collections.abc import Callable, Mapping

from mmengine.logging import MessageHub
from torch import Tensor

__all__ = ['log_scalars', 'running_training', 'training_progress']

LOG_EVERY = 10
"""Iterations between two records of the log."""


def running_training(hub_name: str = '') -> MessageHub | None:
    """The message hub of the running MMEngine training, or None.

    The hub of that name is asked first, before the current one, which belongs to the latest runner.
    """
    hubs = [MessageHub.get_instance(hub_name)] if MessageHub.check_instance_created(hub_name) else []
    needed = {'iter', 'max_iters', 'loop_stage'}  # the last is there while a loop runs
    return next(
        (hub for hub in (*hubs, MessageHub.get_current_instance()) if needed <= hub.runtime_info.keys()), None
    )


def training_progress(hub_name: str = '') -> float:
    """Completed share of the running MMEngine training, in [0, 1), see :func:`running_training`.

    Raises:
        RuntimeError: outside a training of MMEngine.
    """
    hub = running_training(hub_name)
    if hub is None:
        raise RuntimeError(
            'EOLoss needs progress=... (0 at the start, 1 at the end) outside MMEngine training, or '
            "schedule='constant'"
        )
    return float(hub.get_info('iter') / hub.get_info('max_iters'))


def log_scalars(hub_name: str, prefix: str, scalars: Callable[[], Mapping[str, float | Tensor]]) -> None:
    """Write scalars to the log of the running training, if there is one, at its first and every tenth iteration.

    ``scalars`` computes them by name; it is called only when they are logged.
    """
    hub = running_training(hub_name)
    if hub is not None and ((iteration := hub.get_info('iter')) == 0 or (iteration + 1) % LOG_EVERY == 0):
        hub.update_scalars({f'train/{prefix}_{name}': float(value) for name, value in scalars().items()})
