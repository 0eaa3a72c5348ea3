"""Focal loss of the changed class, for heads of one channel."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.models.losses.functional import one_logit
from hsonet_mm.registry import MODELS

__all__ = ['BinaryFocalLoss']


@MODELS.register_module()
class BinaryFocalLoss(nn.Module):
    r"""Focal loss :math:`-\alpha_y (1 - p_y)^\gamma \log p_y`, the mean over all known pixels.

    For heads of one logit MMSegmentation's ``FocalLoss`` cannot serve on CPUs: it sets (P, 1) predictions against (P,)
    labels, which broadcasts to P x P values.

    Args:
        gamma: focusing exponent, >= 0; 0 is cross entropy weighted by alpha.
        alpha: weight of "changed", in (0, 1); "unchanged" weighs 1 - alpha. The paper's 0.25 goes with gamma 2.
        loss_weight: factor on the loss.
        loss_name: name of the loss in the log; must begin with ``loss_``.

    Shapes:
        pred: logits (N, 1, H, W); target: labels 0, 1 and `ignore_index`, (N, H, W).

    Raises:
        UserError: for other constants, heads of more channels, or other labels.

    References:
        Focal loss, arXiv 1708.02002 (there the sum over boxes, divided by the number of objects).
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float = 0.25,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_focal',
    ) -> None:
        super().__init__()
        if not gamma >= 0 or not 0 < alpha < 1:
            raise UserError(
                f'BinaryFocalLoss has gamma={gamma} and alpha={alpha}: give gamma 0 or more, alpha between 0 and 1'
            )
        self.gamma = gamma
        self.alpha = alpha
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        ignore_index: int = 255,
        reduction_override: str | None = None,
        **_: Any,
    ) -> Tensor:
        """The loss of a batch; ignored pixels are left out, weights of pixels are not used.

        With ``reduction_override='none'`` it is that of every pixel, (N, H, W), 0 where ignored.
        """
        logits, y, known = one_logit(pred, target, ignore_index)
        error = (logits * (1 - 2 * y)).sigmoid()  # 1 - p_y
        alpha = self.alpha * y + (1 - self.alpha) * (1 - y)
        error = error.clamp(min=torch.finfo(error.dtype).tiny)  # below gamma 1 the power has no gradient at 0
        loss = alpha * error**self.gamma * F.binary_cross_entropy_with_logits(logits, y, reduction='none')
        if reduction_override == 'none':
            return self.loss_weight * loss * known
        return self.loss_weight * (loss * known).sum() / known.sum().clamp(min=1)
