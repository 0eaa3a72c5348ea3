"""Dice loss of the changed class, for heads of one channel."""

from typing import Any

from torch import Tensor, nn

from hsonet_mm.models.losses.functional import one_logit
from hsonet_mm.registry import MODELS

__all__ = ['BinaryDiceLoss']


@MODELS.register_module()
class BinaryDiceLoss(nn.Module):
    r"""Dice loss of class "changed", :math:`1 - (2 \sum p y + 1) / (\sum p + \sum y + 1)` over the whole batch.

    For heads of one logit MMSegmentation's ``DiceLoss`` cannot serve: it takes the only channel for class 0, which
    is "unchanged" here, so that a perfect map has the loss 1.

    Args:
        loss_weight: factor on the loss.
        loss_name: name of the loss in the log; must begin with ``loss_``.

    Shapes:
        pred: logits (N, 1, H, W); target: labels 0, 1 and `ignore_index`, (N, H, W).

    Raises:
        UserError: for heads of more channels, or other labels.

    References:
        V-Net, arXiv 1606.04797 (the loss, there with squares); ChangeStar, arXiv 2108.07002 (its use for change).
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_dice') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, pred: Tensor, target: Tensor, ignore_index: int = 255, **_: Any) -> Tensor:
        """The loss of a batch; ignored pixels are left out, weights of pixels are not used."""
        logits, y, known = one_logit(pred, target, ignore_index)
        p = logits.sigmoid() * known
        dice = (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
        return self.loss_weight * (1 - dice)
