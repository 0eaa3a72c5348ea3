"""Hooks and loop of the training."""

from hsonet_mm.engine.checkpoint_hook import ChangeCheckpointHook
from hsonet_mm.engine.finite_loss_hook import FiniteLossHook
from hsonet_mm.engine.train_loop import ResumableTrainLoop

__all__ = ['ChangeCheckpointHook', 'FiniteLossHook', 'ResumableTrainLoop']
