"""Open-CD's two encoder-decoder detectors."""

from typing import Any

import torch
from torch import Tensor

from hsonet_mm import models
from hsonet_mm.models.detectors import PairEncoderDecoder
from hsonet_mm.opencd.registry import MODELS

__all__ = ['DIEncoderDecoder', 'SiamEncoderDecoder']


@MODELS.register_module()
class SiamEncoderDecoder(models.SiamEncoderDecoder):
    """Each date by itself through one backbone, then ``neck(feats_t1, feats_t2)``, then the head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, batch_dates=False, **kwargs)


@MODELS.register_module()
class DIEncoderDecoder(PairEncoderDecoder):
    """Both dates through a backbone of two arguments, then an optional ``neck(feats)``, then the head."""

    def extract_feat(self, inputs: Tensor) -> Any:
        """Features of the pair, (N, 2 * backbone_inchannels, H, W), as backbone or neck give them."""
        t1, t2 = torch.split(inputs, self.backbone_inchannels, dim=1)
        feats = self.backbone(t1, t2)
        return self.neck(feats) if self.with_neck else feats
