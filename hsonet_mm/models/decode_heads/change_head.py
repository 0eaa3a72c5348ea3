"""Base class of the decode heads of this package."""

from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from hsonet_mm.errors import UserError
from hsonet_mm.logits import check_threshold

__all__ = ['ChangeHead']


class ChangeHead(BaseDecodeHead):
    """MMSegmentation's decode head, initialised and logged to suit a rare class and one logit for two classes.

    Without the prior a one-logit head may settle where it never calls anything changed: the many unchanged pixels drive
    all weights of the small classifier below zero first, and behind a ReLU no logit exceeds the bias then, as the
    plain U-Net in docs/results.md showed [choice].

    Args:
        prior: share of changed pixels that the initial bias of a one-channel classifier assumes; with two channels it
            has no effect.
        threshold: probability above which a pixel is changed, of a one-channel head; None as in MMSegmentation.
        **kwargs: of ``BaseDecodeHead``.

    Raises:
        UserError: for a prior or a threshold outside (0, 1).
    """

    def __init__(self, *, prior: float = 0.02, threshold: float | None = None, **kwargs: Any) -> None:
        if not 0 < prior < 1:
            raise UserError(f'invalid prior {prior}: expected the share of changed pixels, between 0 and 1')
        check_threshold(threshold, 'the decode head')
        kwargs.setdefault(
            'init_cfg', dict(type='Normal', std=0.01, bias_prob=prior, override=dict(name='conv_seg'))
        )
        super().__init__(threshold=threshold, **kwargs)

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Losses of the head; MMSegmentation's accuracy is left out where it takes one channel for one class."""
        losses = super().loss_by_feat(seg_logits, batch_data_samples)
        if self.out_channels == 1:
            losses.pop('acc_seg', None)
        return losses
