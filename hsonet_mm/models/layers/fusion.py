"""Fusion of the maps of two dates."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hsonet_mm.errors import UserError

__all__ = ['Fusion', 'fusion']


class Fusion(NamedTuple):
    """How maps of two dates, (N, C, H, W) each, are joined, to (N, factor C, H, W)."""

    factor: int
    join: Callable[[Tensor, Tensor], Tensor]


FUSIONS = {
    'concat': Fusion(2, lambda t1, t2: torch.cat([t1, t2], dim=1)),
    'sum': Fusion(1, lambda t1, t2: t1 + t2),
    'diff': Fusion(1, lambda t1, t2: t2 - t1),
    'abs_diff': Fusion(1, lambda t1, t2: (t1 - t2).abs()),
    'both': Fusion(2, lambda t1, t2: torch.cat([(t1 - t2).abs(), t1 + t2], dim=1)),
}
"""By name; those of Open-CD's ``FeatureFusionNeck``, and ``both`` for |t1 - t2| beside t1 + t2 [choice]."""


def fusion(name: str, owner: object, choices: Sequence[str]) -> Fusion:
    """The fusion of a name, which must be one of the owner's choices.

    Raises:
        UserError: for another name.
    """
    if name not in choices:
        raise UserError(
            f'invalid fusion {name!r} of {type(owner).__name__}: expected one of {", ".join(choices)}'
        )
    return FUSIONS[name]
