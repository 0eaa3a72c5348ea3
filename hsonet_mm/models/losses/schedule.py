"""The curriculum of EO-loss: how far the training is, and what weight the plain loss keeps at that point."""

import math
import re
from collections.abc import Callable
from functools import lru_cache

from mmengine.logging import MessageHub

__all__ = ['SCHEDULES', 'optimiser_step', 'running_hub', 'training_progress']

SCHEDULES: dict[str, Callable[[float], float]] = {
    'linear': lambda s: 1 - s,
    'poly': lambda s: (1 - s) ** 0.9,
    'cosine': lambda s: (1 + math.cos(math.pi * s)) / 2,
    'constant': lambda _: 1.0,
}
"""Annealing functions zeta(s) with zeta(0) = 1 and zeta(1) = 0, except the ablation ``constant`` (plain loss).

Source: FarSeg compares annealing functions of this kind [code]; the power 0.9 is FarSeg's.
"""


def running_hub(name: str = '') -> MessageHub | None:
    """The message hub of the training that runs.

    MMEngine's ``RuntimeInfoHook``, which every runner has, publishes ``iter`` and ``max_iters`` in the hub of its
    runner, restores them on resume and leaves them there at the end; ``loop_stage`` is there while a loop runs. The
    current hub is that of the runner that was made last, not of the one that trains.

    Args:
        name: Name of the hub to look at first; the current one is the other.

    Returns:
        The hub, or None outside a training of MMEngine.
    """
    hubs = [MessageHub.get_instance(name)] if MessageHub.check_instance_created(name) else []
    hubs.append(MessageHub.get_current_instance())
    needed = {'iter', 'max_iters', 'loop_stage'}
    return next((hub for hub in hubs if needed <= hub.runtime_info.keys()), None)


def optimiser_step(hub: MessageHub) -> tuple[int, int]:
    """How many optimiser steps a training has done, and how many it will do.

    Both are counted in batches by MMEngine: under gradient accumulation they are divided by ``accumulative_counts``, so
    that all batches of one optimiser step share one progress.

    Args:
        hub: Of the training, see :func:`running_hub`.
    """
    counts = _accumulative_counts(str(hub.runtime_info.get('cfg', '')))
    return int(hub.get_info('iter')) // counts, max(1, math.ceil(int(hub.get_info('max_iters')) / counts))


def training_progress(name: str = '') -> float:
    """Share of the running training that is done, in [0, 1).

    Args:
        name: Name of the message hub to look at first, see :func:`running_hub`.

    Raises:
        RuntimeError: outside a training of MMEngine.
    """
    hub = running_hub(name)
    if hub is None:
        raise RuntimeError(
            'EOLoss cannot know the training progress outside an MMEngine training: pass progress=... (0 at the '
            "start, 1 at the end) or use schedule='constant'"
        )
    done, steps = optimiser_step(hub)
    return done / steps


@lru_cache(maxsize=8)
def _accumulative_counts(config_text: str) -> int:
    """Batches per optimiser step, from the text of the running config that MMEngine publishes."""
    match = re.search(r'\baccumulative_counts\s*[=:]\s*(\d+)', config_text)
    return int(match.group(1)) if match else 1
