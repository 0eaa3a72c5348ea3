"""Duration of a training across interruptions."""

import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from hsonet_mm.registry import HOOKS

__all__ = ['ResumptionHook']


@HOOKS.register_module()
class ResumptionHook(Hook):
    """Keeps the seconds of a training in its checkpoints."""

    def __init__(self) -> None:
        self._before = 0.0
        self._start = 0.0

    @property
    def seconds_here(self) -> float:
        """Seconds since this process began to train."""
        return time.perf_counter() - self._start

    @property
    def seconds(self) -> float:
        """Seconds of the training so far, up to the checkpoint in earlier processes and since then in this one."""
        return self._before + self.seconds_here

    def before_run(self, runner: Runner) -> None:  # noqa: ARG002
        """Start the clock."""
        self._start = time.perf_counter()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Put the clock into the checkpoint."""
        checkpoint['train_seconds'] = self.seconds

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Take the clock out of the checkpoint."""
        self._before = checkpoint.get('train_seconds', 0.0)
