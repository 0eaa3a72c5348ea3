"""Test-time augmentation inside the hosts' test loop."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from hsonet_mm.models.decode_heads.cascade import last_head
from hsonet_mm.registry import MODELS

__all__ = ['ChangeTTAModel']


@MODELS.register_module()
class ChangeTTAModel(BaseTTAModel):
    """Mean of the probabilities over the views of a pair, as ``tta_model`` of a config.

    MMSegmentation's ``SegTTAModel`` takes the sigmoid of one-channel heads a second time, so that every probability
    is above 0.5. What is returned keeps the meaning that it has without augmentation: ``seg_logits`` are probabilities
    for a head of one channel, which is compared with its ``threshold``, and logits for a head of more.

    Args:
        module: the change detector; the hosts' ``test.py --tta`` puts it there.
        **kwargs: of :class:`mmengine.model.BaseTTAModel`.
    """

    def merge_preds(self, data_samples_list: Sequence[Sequence[SegDataSample]]) -> list[SegDataSample]:
        """Merge the predictions of each pair's views into its first one, in which nothing is mirrored."""
        return [self._merged(views) for views in data_samples_list]

    def _merged(self, views: Sequence[SegDataSample]) -> SegDataSample:
        merged, scores = views[0], torch.stack([view.seg_logits.data for view in views])
        if scores.shape[1] == 1:
            scores = scores.mean(dim=0)
            mask = scores > last_head(self.module).threshold
        else:
            scores = scores.softmax(dim=1).mean(dim=0).log()
            mask = scores.argmax(dim=0, keepdim=True)
        merged.seg_logits = PixelData(data=scores)
        merged.pred_sem_seg = PixelData(data=mask.to(merged.pred_sem_seg.data))
        return merged
