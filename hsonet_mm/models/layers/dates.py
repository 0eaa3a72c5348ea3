"""Both dates as one batch, and apart again."""

from torch import Tensor

__all__ = ['split_dates']


def split_dates(x: Tensor) -> tuple[Tensor, Tensor]:
    """The halves of a batch; as ``chunk``, which exporters cannot translate for a batch of any size.

    They keep the order in memory, also for one pair, as ``unflatten`` would not.

    Shapes:
        (2 N, ...) to twice (N, ...).
    """
    half = x.shape[0] // 2
    return x[:half], x[half:]
