"""Both dates as one batch, and apart again."""

import torch
from torch import Tensor

__all__ = ['split_dates']


def split_dates(x: Tensor) -> tuple[Tensor, Tensor]:
    """The halves of a batch, with its order in memory, also for one pair, which ``unflatten`` would not keep.

    Gradients keep the order only through ``chunk``, and exporters translate only slices for a batch of any size.

    Shapes:
        (2 N, ...) to twice (N, ...).
    """
    if x.requires_grad and not torch.compiler.is_compiling():
        t1, t2 = x.chunk(2)
        return t1, t2
    half = x.shape[0] // 2
    return x[:half], x[half:]
