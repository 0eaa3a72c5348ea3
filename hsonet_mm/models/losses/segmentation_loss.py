"""Base class of the losses: the call that MMSegmentation's heads make."""

from typing import Any

from torch import Tensor, nn

__all__ = ['SegmentationLoss']


class SegmentationLoss(nn.Module):
    """A loss for the heads of MMSegmentation; subclasses define :meth:`loss`.

    Args:
        loss_weight: factor on the loss.
        loss_name: name of the loss in the log; must begin with ``loss_``.
    """

    def __init__(self, loss_weight: float, loss_name: str) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def loss(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, **_: Any
    ) -> Tensor:
        """The loss without its factor.

        Args:
            pred: logits (N, C, H, W).
            target: class of every pixel, (N, H, W) or (N, 1, H, W).
            weight: weight of every pixel, or None.
            ignore_index: label of pixels that do not count.
            reduction: ``mean``, ``none`` for the loss (N, H, W) of every pixel, or ``sum`` where there is one.
        """
        raise NotImplementedError

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        reduction_override: str | None = None,
        **options: Any,
    ) -> Tensor:
        """Weighted loss of a batch, or of every pixel with ``reduction_override='none'``, which OHEM samplers set."""
        reduction = reduction_override or 'mean'
        return self.loss_weight * self.loss(pred, target, weight, ignore_index, reduction, **options)
