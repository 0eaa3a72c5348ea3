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
    from hsonet_mm.opencd.detectors import SiamEncoderDecoder as HostDetector

__all__ = ['SiamEncoderDecoder']


@MODELS.register_module()
class SiamEncoderDecoder(HostDetector):
    """Open-CD's ``SiamEncoderDecoder`` that can send both dates through the backbone as one batch, and keep detail.

    Everything else is the host's; without ``detail`` the state dict too, and ``type='SiamEncoderDecoder'`` works in its
    place.

    Args:
        batch_dates: run the backbone once on 2N images instead of twice on N [choice]. In evaluation the result is
            the same. In training, batch norm then takes its statistics over both dates together: one estimate from
            twice the pixels, but a colour shift between the dates is no longer normalised away date by date.
        detail: config of a :class:`DetailBranch`, whose maps go to the neck before the levels of the backbone.
        **kwargs: of the host's detector.
    """

    def __init__(
        self, *args: Any, batch_dates: bool = True, detail: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.batch_dates = batch_dates
        self.detail = MODELS.build(detail) if detail else None

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Fused features of both dates.

        Shapes:
            inputs (N, 6, H, W), date 1 then date 2; returns what the neck returns.
        """
        dates = torch.split(inputs, self.backbone_inchannels, dim=1)
        if self.batch_dates:
            both = self._levels(torch.cat(dates))
            feats_t1, feats_t2 = zip(*map(split_dates, both), strict=True)
        else:
            feats_t1, feats_t2 = map(self._levels, dates)
        return self.neck(feats_t1, feats_t2)

    def _levels(self, x: Tensor) -> tuple[Tensor, ...]:
        """The detail, if there is a branch for it, then the levels of the backbone."""
        levels = tuple(self.backbone(x))
        return levels if self.detail is None else (*self.detail(x), *levels)
