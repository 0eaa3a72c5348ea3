"""Dice loss of the changed class, for heads of one channel."""

from typing import Any

from torch import Tensor

from hsonet_mm.models.losses.functional import check_reduction, one_logit, pixel_weights
from hsonet_mm.models.losses.segmentation_loss import SegmentationLoss
from hsonet_mm.registry import MODELS

__all__ = ['BinaryDiceLoss', 'binary_dice_loss']


def binary_dice_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = 255,
    reduction: str = 'mean',
) -> Tensor:
    r"""Dice loss of class "changed" over the whole batch.

    .. math:: L = 1 - \frac{2 \sum_i w_i p_i y_i + 1}{\sum_i w_i p_i + \sum_i w_i y_i + 1}
                = \frac{\sum_i w_i e_i}{\sum_i w_i (p_i + y_i) + 1}

    with the probability :math:`p_i` of pixel i, its label :math:`y_i`, its weight :math:`w_i` and its error
    :math:`e_i = |p_i - y_i|`. The right form gives every pixel its share of the loss.

    Args:
        pred: logits.
        target: labels 0, 1 and `ignore_index`.
        weight: weight >= 0 of every pixel, or None.
        ignore_index: label of pixels that do not count.
        reduction: ``mean`` and ``sum`` for the loss, ``none`` for the share of every pixel, 0 where ignored.

    Shapes:
        pred (N, 1, *), target and weight (N, *) or (N, 1, *); returns a 0-d tensor, or (N, *).

    Raises:
        UserError: for heads of more channels, other labels, or another reduction.

    References:
        V-Net, arXiv 1606.04797 (the loss, there with squares); ChangeStar, arXiv 2108.07002 (its use for change).

    Example:
        >>> import torch
        >>> pred, target = torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 1]]])  # p = 1/2 everywhere
        >>> round(float(binary_dice_loss(pred, target)), 6)  # 1 - (2/2 + 1) / (1 + 1 + 1)
        0.333333
        >>> round(float(binary_dice_loss(pred, target, torch.tensor([[[0, 1]]]))), 6)  # 1 - (2/2 + 1) / (1/2 + 1 + 1)
        0.2
    """
    check_reduction(reduction)
    logits, y, known = one_logit(pred, target, ignore_index)
    p, weights = logits.sigmoid(), pixel_weights(weight, pred, known)
    shares = weights * (p + y - 2 * p * y) / ((weights * (p + y)).sum() + 1)
    return shares if reduction == 'none' else shares.sum()


@MODELS.register_module()
class BinaryDiceLoss(SegmentationLoss):
    """Dice loss of class "changed", see :func:`binary_dice_loss`, for MMSegmentation's heads of one logit.

    MMSegmentation's ``DiceLoss`` cannot serve there: it takes the only channel for class 0, which is "unchanged" here,
    so that a perfect map has the loss 1.

    Args:
        loss_weight: factor on the loss.
        loss_name: name of the loss in the log; must begin with ``loss_``.

    Raises:
        UserError: for heads of more channels, other labels, or another reduction.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_dice') -> None:
        super().__init__(loss_weight, loss_name)

    def loss(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, **_: Any
    ) -> Tensor:
        """See :func:`binary_dice_loss`."""
        return binary_dice_loss(pred, target, weight, ignore_index, reduction)
