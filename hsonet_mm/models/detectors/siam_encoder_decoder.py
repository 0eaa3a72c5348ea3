"""The Siamese change detector, with both dates as one batch."""

from typing import Any

import torch
from torch import Tensor

from hsonet_mm import compat
from hsonet_mm.models.layers import split_dates
from hsonet_mm.registry import MODELS

if compat.OPENCD_AVAILABLE:
    from opencd.models import SiamEncoderDecoder as HostDetector
else:
    from hsonet_mm.opencd_lite.detectors import SiamEncoderDecoder as HostDetector

__all__ = ['SiamEncoderDecoder']


@MODELS.register_module()
class SiamEncoderDecoder(HostDetector):
    """Open-CD's ``SiamEncoderDecoder`` that can send both dates through the backbone as one batch.

    Everything else, the state dict included, is the host's; ``type='SiamEncoderDecoder'`` works in its place.

    Args:
        batch_dates: run the backbone once on 2N images instead of twice on N [choice]. In evaluation the result is
            the same. In training, batch norm then takes its statistics over both dates together: one estimate from
            twice the pixels, but a colour shift between the dates is no longer normalised away date by date.
        **kwargs: of the host's detector.
    """

    def __init__(self, *args: Any, batch_dates: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batch_dates = batch_dates

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Fused features of both dates.

        Shapes:
            inputs (N, 6, H, W), date 1 then date 2; returns what the neck returns.
        """
        if not self.batch_dates:
            return super().extract_feat(inputs)
        both = self.backbone(torch.cat(torch.split(inputs, self.backbone_inchannels, dim=1)))
        feats_t1, feats_t2 = zip(*map(split_dates, both), strict=True)
        return self.neck(feats_t1, feats_t2)
