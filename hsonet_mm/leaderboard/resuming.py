"""What makes a killed training end as if nothing had happened."""

import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from hsonet_mm.files import write_text
from hsonet_mm.registry import HOOKS

__all__ = ['ResumptionHook', 'mend_last_checkpoint']


def mend_last_checkpoint(work_dir: Path) -> None:
    """Let MMEngine find the checkpoint that a training goes on from.

    Its ``last_checkpoint`` names a file with its whole path, which leads astray once the folder has moved, and is
    empty if a kill came while it was written.

    Args:
        work_dir: Work dir of the training.
    """
    note = work_dir / 'last_checkpoint'
    if note.exists():
        named = work_dir / Path(note.read_text(encoding='utf-8')).name
        left = sorted(work_dir.glob('iter_*.pth'), key=lambda path: path.stat().st_mtime)
        if found := [named] if named.is_file() else left:
            write_text(note, str(found[-1]))
        else:
            note.unlink()


@HOOKS.register_module()
class ResumptionHook(Hook):
    """Keeps the seconds of a training in its checkpoints, and makes up for a validation that was cut off.

    MMEngine writes a checkpoint before it validates it. After a kill in between, the training would go on without
    ever having looked at that checkpoint, which may be the best one; so a resumed training begins with a validation.
    """

    priority = 'LOWEST'  # so that the hook that keeps the best checkpoint has started

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

    def before_train(self, runner: Runner) -> None:
        """Validate where a resumed training starts."""
        if runner.iter > 0:
            runner.val_loop.run()
