"""The decoder of a plain U-Net, the baseline that separates the network from the training recipe."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.models.decode_heads.change_head import ChangeHead
from hsonet_mm.registry import MODELS

__all__ = ['UNetHead']


@MODELS.register_module()
class UNetHead(ChangeHead):
    """U-Net decoder and classifier on features fused by any neck.

    From the coarsest level on, each block upsamples by nearest neighbours to the next finer level, concatenates that
    level (the skip), and applies [3x3 convolution, batch norm, ReLU] twice. Where there are more blocks than skips, the
    last ones upsample by two without a skip: with four levels of strides 4 to 32 and five blocks the logits have the
    size of the input. Form and widths are those of the widespread U-Nets over classification networks [choice].

    Args:
        in_channels: channels of the fused levels, finest first.
        decoder_channels: channels of the blocks, coarsest first.
        **kwargs: of :class:`ChangeHead`, but for ``channels``, which are those of the last block; set
            ``out_channels=1`` and ``threshold`` for the one-logit form.

    Shapes:
        inputs: tuple of (N, in_channels[i], H_i, W_i), finest first. Returns logits (N, out_channels, H, W), where H, W
        are those of the finest level, doubled by every block without a skip.

    Raises:
        UserError: if there are fewer blocks than skips.

    Example:
        >>> head = UNetHead([8, 16], decoder_channels=(8, 4), num_classes=2, out_channels=1, threshold=0.5)
        >>> tuple(head([torch.rand(1, 8, 16, 16), torch.rand(1, 16, 8, 8)]).shape)
        (1, 1, 32, 32)

    References:
        U-Net, arXiv 1505.04597; A Change Detection Reality Check, arXiv 2402.06994, for the Siamese form with
        concatenated dates as a baseline. Checked against its layers written out one by one, for equal weights; the
        sizes of its configs are counted once and fixed by tests, no other implementation was compared.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        **kwargs: Any,
    ) -> None:
        skips = list(in_channels[-2::-1])
        if not 0 < len(skips) <= len(decoder_channels):
            raise UserError(
                f'invalid in_channels={list(in_channels)}, decoder_channels={list(decoder_channels)} of '
                'UNetHead: expected two levels or more, and a decoder block for each but the coarsest'
            )
        kwargs.setdefault('in_index', list(range(len(in_channels))))
        kwargs.setdefault('norm_cfg', dict(type='BN', requires_grad=True))
        super().__init__(
            in_channels=list(in_channels),
            channels=decoder_channels[-1],
            input_transform='multiple_select',
            **kwargs,
        )
        skips += [0] * (len(decoder_channels) - len(skips))
        coarser = [in_channels[-1], *decoder_channels]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                ConvModule(below + skip, width, 3, padding=1, norm_cfg=self.norm_cfg),
                ConvModule(width, width, 3, padding=1, norm_cfg=self.norm_cfg),
            )
            for below, skip, width in zip(coarser, skips, decoder_channels, strict=False)
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of change from the fused levels."""
        skips = list(self._transform_inputs(inputs))
        x = skips.pop()
        for block in self.blocks:
            if skips:
                skip = skips.pop()
                x = torch.cat([F.interpolate(x, size=skip.shape[2:]), skip], dim=1)
            else:
                x = F.interpolate(x, scale_factor=2)
            x = block(x)
        return self.cls_seg(x)
