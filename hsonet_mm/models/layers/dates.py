"""Both dates as one batch, and apart again."""

from torch import Tensor

__all__ = ['split_dates']


def split_dates(x: Tensor) -> tuple[Tensor, ...]:
    """The halves of a batch; as ``chunk``, which exporters cannot translate for a batch of any size.

    Shapes:
        (2 N, ...) to twice (N, ...).
    """
    return x.unflatten(0, (2, -1)).unbind()
