"""The Siamese change detector, with both dates as one batch."""

from typing import Any

import torch
from mmengine.device import get_device
from torch import Tensor

from hsonet_mm.errors import UserError
from hsonet_mm.models.detectors.pair_encoder_decoder import PairEncoderDecoder
from hsonet_mm.models.layers import split_dates
from hsonet_mm.models.necks import VFPN
from hsonet_mm.registry import MODELS

__all__ = ['SiamEncoderDecoder']


@MODELS.register_module()
class SiamEncoderDecoder(PairEncoderDecoder):
    """The dates through one backbone, as one batch or one by one, then ``neck(feats_t1, feats_t2)``, then the head.

    Arguments, results and (without ``detail``) state-dict keys are those of Open-CD's ``SiamEncoderDecoder``. Inside
    Open-CD it takes the place of that class, with a sliding window that does not pad every window to the whole image.

    Built where there is no GPU, it keeps its weights in channels-last order: convolutions of wide maps, as those of
    ResNet and pyramid, are faster so on CPUs, and all maps that follow take the order over. Values and state dict stay
    the same.

    Args:
        *args: of :class:`mmseg.models.EncoderDecoder`.
        batch_dates: run the backbone once on 2N images instead of twice on N [choice]. In evaluation the result is
            the same. In training, batch norm then takes its statistics over both dates together: one estimate from
            twice the pixels, but a colour shift between the dates is no longer normalised away date by date.
        detail: config of a :class:`DetailBranch`, whose maps go to the neck before the levels of the backbone. A
            :class:`VFPN` is told how many there are; a head with ``detail`` takes them by its ``in_channels``.
        **kwargs: of :class:`PairEncoderDecoder`.

    Raises:
        UserError: without a neck, because only the neck fuses the dates; or if neck or head expect other
            high-resolution maps than there are.
    """

    def __init__(
        self, *args: Any, batch_dates: bool = True, detail: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if not self.with_neck:
            raise UserError(
                'SiamEncoderDecoder needs a neck that fuses the two dates, such as FeatureFusionNeck'
            )
        self.batch_dates = batch_dates
        self.detail = MODELS.build(detail) if detail else None
        self._pass_on([] if self.detail is None else self.detail.channels)
        if get_device() == 'cpu':
            self.to(memory_format=torch.channels_last)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Fused features of both dates.

        Shapes:
            inputs (N, 2 * backbone_inchannels, H, W), date 1 then date 2; returns what the neck returns.
        """
        dates = torch.split(inputs, self.backbone_inchannels, dim=1)
        if self.batch_dates:
            both = self._levels(torch.cat(dates))
            feats_t1, feats_t2 = zip(*map(split_dates, both), strict=True)
        else:
            feats_t1, feats_t2 = map(self._levels, dates)
        return self.neck(feats_t1, feats_t2)

    def _pass_on(self, channels: list[int]) -> None:
        """Tell the neck the number of high-resolution maps, and check that neck and head expect them."""
        if isinstance(self.neck, VFPN):
            if self.neck.detail is None:
                self.neck.detail = len(channels)
            elif self.neck.detail != len(channels):
                raise UserError(
                    f'model.neck.detail is {self.neck.detail}, but model.detail gives {len(channels)} maps: leave '
                    'model.neck.detail out'
                )
        number = getattr(self.decode_head, 'detail', None)
        if number is not None and (expected := list(self.decode_head.in_channels[:number])) != channels:
            raise UserError(
                f'model.decode_head expects high-resolution maps with {expected or "no"} channels, but '
                f'model.detail gives {channels or "none"}: name them in model.decode_head.in_channels, '
                'before the pyramid levels and the scene embedding'
            )

    def _levels(self, x: Tensor) -> tuple[Tensor, ...]:
        """High-resolution maps, if there is a branch for them, then the levels of the backbone."""
        levels = tuple(self.backbone(x))
        return levels if self.detail is None else (*self.detail(x), *levels)
