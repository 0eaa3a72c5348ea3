"""Hooks of the training."""

from hsonet_mm.engine.finite_loss_hook import FiniteLossHook

__all__ = ['FiniteLossHook']
