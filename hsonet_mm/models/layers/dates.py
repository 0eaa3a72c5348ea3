"""Both dates as one batch, and apart again."""

import torch
from torch import Tensor

__all__ = ['split_dates']


def split_dates(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves of a batch, whose memory format (such as channels-last) they keep, as do their gradients.

    ``unflatten`` loses it for one pair, and slices lose it in the backward pass, which costs time on CPUs; exporters
    translate only slices for a batch of any size.

    Shapes:
        (2 N, ...) to twice (N, ...).
    """
    if x.requires_grad and not torch.compiler.is_compiling():
        t1, t2 = x.chunk(2)
        return t1, t2
    half = x.shape[0] // 2
    return x[:half], x[half:]
