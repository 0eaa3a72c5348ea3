"""The curriculum of EO-loss: how far the training is, and what weight the plain loss keeps at that point."""

import math
import re
from collections.abc import Callable
from functools import lru_cache

from mmengine.logging import MessageHub

__all__ = ['SCHEDULES', 'optimiser_step', 'training_progress']

SCHEDULES: dict[str, Callable[[float], float]] = {
    'linear': lambda s: 1 - s,
    'poly': lambda s: (1 - s) ** 0.9,
    'cosine': lambda s: (1 + math.cos(math.pi * s)) / 2,
    'constant': lambda _: 1.0,
}
"""Annealing functions zeta(s) with zeta(0) = 1 and zeta(1) = 0, except the ablation ``constant`` (plain loss).

Source: FarSeg compares annealing functions of this kind [code]; the power 0.9 is FarSeg's.
"""


def optimiser_step() -> tuple[int, int] | None:
    """How many optimiser steps the current training has done, and how many it will do.

    MMEngine's ``RuntimeInfoHook``, which every runner has, publishes ``iter`` and ``max_iters`` in the current message
    hub and restores them on resume. Both count batches: under gradient accumulation they are divided by
    ``accumulative_counts``, so that all batches of one optimiser step share one progress.

    Returns:
        (steps done, steps in all), or None outside a training of MMEngine.
    """
    hub = MessageHub.get_current_instance()
    if 'iter' not in hub.runtime_info or 'max_iters' not in hub.runtime_info:
        return None
    counts = _accumulative_counts(str(hub.runtime_info.get('cfg', '')))
    return int(hub.get_info('iter')) // counts, max(1, math.ceil(int(hub.get_info('max_iters')) / counts))


def training_progress() -> float:
    """Share of the current training that is done, in [0, 1).

    Raises:
        RuntimeError: outside a training of MMEngine.
    """
    step = optimiser_step()
    if step is None:
        raise RuntimeError(
            'EOLoss cannot know the training progress outside an MMEngine training: pass progress=... (0 at the '
            "start, 1 at the end) or use schedule='constant'"
        )
    return step[0] / step[1]


@lru_cache(maxsize=8)
def _accumulative_counts(config_text: str) -> int:
    """Batches per optimiser step, from the text of the running config that MMEngine publishes."""
    match = re.search(r'\baccumulative_counts\s*[=:]\s*(\d+)', config_text)
    return int(match.group(1)) if match else 1
