"""Focal loss of the changed class, for heads of one channel."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hsonet_mm.errors import UserError
from hsonet_mm.models.losses.functional import check_reduction, one_logit, pixel_weights
from hsonet_mm.models.losses.segmentation_loss import SegmentationLoss
from hsonet_mm.registry import MODELS

__all__ = ['BinaryFocalLoss', 'binary_focal_loss']


def binary_focal_loss(
    pred: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    ignore_index: int = 255,
    reduction: str = 'mean',
) -> Tensor:
    r"""Focal loss of class "changed".

    .. math:: L = \frac{1}{n} \sum_i w_i l_i, \qquad l_i = -\alpha_{y_i} (1 - p_{y_i})^\gamma \log p_{y_i}

    over the n known pixels, with :math:`\alpha_1 = \alpha` and :math:`\alpha_0 = 1 - \alpha`. With gamma 0 and alpha
    1/2 it is half of cross entropy.

    Args:
        pred: logits.
        target: labels 0, 1 and `ignore_index`.
        gamma: focusing exponent, >= 0.
        alpha: weight of "changed", in (0, 1).
        weight: weight >= 0 of every pixel, or None.
        ignore_index: label of pixels that do not count.
        reduction: ``mean`` over the known pixels, ``sum``, or ``none`` for that of every pixel, 0 where ignored.

    Shapes:
        pred (N, 1, *), target and weight (N, *) or (N, 1, *); returns a 0-d tensor, or (N, *).

    Raises:
        UserError: for heads of more channels, other labels, or another reduction.

    References:
        Focal loss, arXiv 1708.02002 (there the sum over boxes, divided by the number of objects).

    Example:
        >>> import math, torch
        >>> pred, target = torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 1]]])  # p = 1/2 everywhere
        >>> loss = binary_focal_loss(pred, target, gamma=2.0, alpha=0.5)
        >>> math.isclose(loss, 0.5 * 0.5**2 * math.log(2), rel_tol=1e-6)
        True
    """
    check_reduction(reduction)
    logits, y, known = one_logit(pred, target, ignore_index)
    error = (logits * (1 - 2 * y)).sigmoid()  # 1 - p_y
    error = error.clamp(min=torch.finfo(error.dtype).tiny)  # below gamma 1 the power has no gradient at 0
    factor = (alpha * y + (1 - alpha) * (1 - y)) * pixel_weights(weight, pred, known)
    losses = factor * error**gamma * F.binary_cross_entropy_with_logits(logits, y, reduction='none')
    if reduction == 'none':
        return losses
    return losses.sum() / (known.sum().clamp(min=1) if reduction == 'mean' else 1)


@MODELS.register_module()
class BinaryFocalLoss(SegmentationLoss):
    """Focal loss of class "changed", see :func:`binary_focal_loss`, for MMSegmentation's heads of one logit.

    MMSegmentation's ``FocalLoss`` cannot serve there on CPUs: it sets (P, 1) predictions against (P,) labels, which
    broadcasts to P x P values.

    Args:
        gamma: focusing exponent, >= 0; 0 is cross entropy weighted by alpha.
        alpha: weight of "changed", in (0, 1); "unchanged" weighs 1 - alpha. The paper's 0.25 goes with gamma 2.
        loss_weight: factor on the loss.
        loss_name: name of the loss in the log; must begin with ``loss_``.

    Raises:
        UserError: for other constants, heads of more channels, other labels, or another reduction.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float = 0.25,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_focal',
    ) -> None:
        super().__init__(loss_weight, loss_name)
        if not gamma >= 0 or not 0 < alpha < 1:
            raise UserError(
                f'invalid gamma={gamma}, alpha={alpha} of BinaryFocalLoss: expected gamma of 0 or more '
                'and alpha between 0 and 1'
            )
        self.gamma = gamma
        self.alpha = alpha

    def loss(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, **_: Any
    ) -> Tensor:
        """See :func:`binary_focal_loss`."""
        return binary_focal_loss(pred, target, self.gamma, self.alpha, weight, ignore_index, reduction)
