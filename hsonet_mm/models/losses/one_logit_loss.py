"""What the losses of class "changed" share as modules of MMSegmentation."""

from typing import Any

from torch import Tensor, nn

__all__ = ['OneLogitLoss']


class OneLogitLoss(nn.Module):
    """A loss for MMSegmentation's heads of one logit; subclasses say what it is in :meth:`loss`.

    Args:
        loss_weight: factor on the loss.
        loss_name: name of the loss in the log; must begin with ``loss_``.
    """

    def __init__(self, loss_weight: float, loss_name: str) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def loss(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
    ) -> Tensor:
        """The loss, without its factor; arguments as of :func:`binary_dice_loss` and :func:`binary_focal_loss`."""
        raise NotImplementedError

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        reduction_override: str | None = None,
        **_: Any,
    ) -> Tensor:
        """The loss of a batch; with ``reduction_override='none'`` that of every pixel, for OHEM."""
        return self.loss_weight * self.loss(pred, target, weight, ignore_index, reduction_override or 'mean')
