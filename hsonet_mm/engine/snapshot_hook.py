"""A hook that saves weights at evenly spaced iterations of a training."""

from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from hsonet_mm.engine.atomic_backend import ATOMIC
from hsonet_mm.errors import UserError
from hsonet_mm.registry import HOOKS
from hsonet_mm.training_log import SNAPSHOT

__all__ = ['SnapshotHook', 'keep_snapshots']


@HOOKS.register_module()
class SnapshotHook(Hook):
    """Keep the weights of ``count`` evenly spaced iterations, the last among them, as ``snapshot_iter_N.pth``.

    They are in the work directory beside the checkpoints, contain no training state to resume from, and are never
    deleted. A resumed training continues the sequence of the whole training.

    Args:
        count: number of snapshots.

    Raises:
        UserError: before the training, if it has fewer iterations, or none are asked for.
    """

    priority = 'VERY_LOW'  # as that of checkpoints, behind averaged weights

    def __init__(self, count: int) -> None:
        self.count = count
        self.iterations: set[int] = set()

    def before_train(self, runner: Any) -> None:
        """Choose the iterations."""
        total = runner.max_iters
        if not 0 < self.count <= total:
            raise UserError(
                f'invalid --snapshots {self.count}: expected 1 to {total}, the iterations of the training'
            )
        self.iterations = {round(k * total / self.count) for k in range(1, self.count + 1)}

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        """Save a snapshot where one is due."""
        if runner.iter + 1 in self.iterations:
            runner.save_checkpoint(
                runner.work_dir,
                SNAPSHOT.format(runner.iter + 1),
                save_optimizer=False,
                save_param_scheduler=False,
                by_epoch=False,
                backend_args=ATOMIC,
            )


def keep_snapshots(cfg: Config, count: int) -> None:
    """Add a :class:`SnapshotHook` to a config."""
    others = [one for one in cfg.get('custom_hooks') or [] if one.get('type') != 'hsonet_mm.SnapshotHook']
    cfg.custom_hooks = [*others, {'type': 'hsonet_mm.SnapshotHook', 'count': count}]
