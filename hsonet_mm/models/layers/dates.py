"""Both dates as one batch, and apart again."""

from torch import Tensor

__all__ = ['split_dates']


def split_dates(x: Tensor) -> tuple[Tensor, Tensor]:
    """The halves of a batch; ``chunk`` does the same, but an exporter cannot translate it for a batch of any size.

    Shapes:
        (2 N, ...) to twice (N, ...).
    """
    n = x.shape[0] // 2
    return x[:n], x[n:]
