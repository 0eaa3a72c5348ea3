"""What the decode heads of this package share."""

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

__all__ = ['ChangeHead']


class ChangeHead(BaseDecodeHead):
    """MMSegmentation's decode head without a figure that misleads with one logit for two classes."""

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Losses of the head; MMSegmentation's accuracy is left out where it takes one channel for one class."""
        losses = super().loss_by_feat(seg_logits, batch_data_samples)
        if self.out_channels == 1:
            losses.pop('acc_seg', None)
        return losses
