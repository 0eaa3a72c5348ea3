"""Precision of inference in PyTorch: float32, or bfloat16 if the processor supports it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from hsonet_mm.errors import UserError
from hsonet_mm.machine import has_bf16

__all__ = ['PRECISIONS', 'autocast']

PRECISIONS = ('auto', 'fp32', 'bf16')
"""``auto`` is bfloat16 on a CPU that multiplies it, and float32 everywhere else."""


def autocast(precision: str, device: torch.device) -> Callable[[], AbstractContextManager]:
    """The autocast context for one of :data:`PRECISIONS` and a device."""
    if precision not in PRECISIONS:
        raise UserError(f"invalid precision '{precision}': expected one of {', '.join(PRECISIONS)}")
    if precision == 'fp32' or (precision == 'auto' and not (device.type == 'cpu' and has_bf16())):
        return nullcontext
    if device.type == 'cuda' and not torch.cuda.is_bf16_supported():
        raise UserError(f'{torch.cuda.get_device_name(device)} does not support --precision bf16: use fp32')
    return lambda: torch.autocast(device.type, torch.bfloat16)
