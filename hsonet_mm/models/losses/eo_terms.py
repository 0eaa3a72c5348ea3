"""Terms of EO-loss, and the shares of its gradient for the training log."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['EOTerms']

HARD = 0.5
"""Error above which background counts as hard in the log: it would be predicted as changed [choice]."""
EDGE = 2
"""Distance to the outline of a label, in pixels, within which the log counts the gradient as that of edges."""


class EOTerms(NamedTuple):
    """Terms of an EO-loss; every entry is detached.

    Args:
        weights: w of every pixel, times its pixel weight if there are such; shape of the label, 0 where ignored.
        losses: l of every pixel, times its pixel weight if there are such; 0 where ignored.
        errors: e of every pixel, 0 where ignored.
        foreground: whether the label is a class other than 0.
        normaliser: Z (form ``background``: that of the background), a 0-d tensor.
    """

    weights: Tensor
    losses: Tensor
    errors: Tensor
    foreground: Tensor
    normaliser: Tensor

    def gradient_shares(self) -> dict[str, Tensor]:
        """Shares of the L1 norm of dL/dz: foreground, hard and easy background add up to 1; edges are in all three.

        Background is hard when its error exceeds 0.5. Edges are the pixels within 2 pixels of the outline of a label.
        """
        grad_magnitude = self.weights * self.errors
        total = grad_magnitude.sum().clamp_min(torch.finfo(grad_magnitude.dtype).tiny)
        hard = ~self.foreground & (self.errors > HARD)
        label, size = self.foreground.unsqueeze(1).to(grad_magnitude.dtype), 2 * EDGE + 1
        edges = (F.max_pool2d(label, size, 1, EDGE) + F.max_pool2d(-label, size, 1, EDGE)).squeeze(1) > 0
        parts = {
            'foreground': self.foreground,
            'hard_background': hard,
            'easy_background': ~self.foreground & ~hard,
            'edges': edges,
        }
        return {f'grad_{name}': (grad_magnitude * part).sum() / total for name, part in parts.items()}

    def scalars(self, zeta: float) -> dict[str, float | Tensor]:
        """Scalars of the training log: zeta, Z and the shares of the gradient."""
        return {'zeta': zeta, 'Z': self.normaliser, **self.gradient_shares()}
