"""Training: hooks, the training loop and the optimiser wrapper."""

from hsonet_mm.engine.checkpoint_hook import ChangeCheckpointHook
from hsonet_mm.engine.finite_loss_hook import FiniteLossHook
from hsonet_mm.engine.mixed_precision import MixedPrecisionOptimWrapper
from hsonet_mm.engine.snapshot_hook import SnapshotHook
from hsonet_mm.engine.train_loop import ResumableTrainLoop

__all__ = [
    'ChangeCheckpointHook',
    'FiniteLossHook',
    'MixedPrecisionOptimWrapper',
    'ResumableTrainLoop',
    'SnapshotHook',
]
