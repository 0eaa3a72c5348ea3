"""The head of Changer: one feature map a date, aligned by optical flow, compared and projected."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.backbones.mit import MixFFN
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import nchw_to_nlc, nlc_to_nchw, resize
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import MODELS

__all__ = ['Changer']

_INTERPOLATIONS = ('bilinear', 'bicubic')


class _FlowAlignment(nn.Module):
    """Flow-based dual alignment and fusion (FDAF): each date, warped onto the other, minus the other.

    Args:
        channels: channels of one date.

    Shapes:
        Two tensors of (N, channels, H, W) in, (N, 2 channels, H, W) out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        both = 2 * channels
        self.flow_make = nn.Sequential(
            nn.Conv2d(both, both, kernel_size=5, padding=2, groups=both),
            nn.InstanceNorm2d(both),
            nn.GELU(),
            nn.Conv2d(both, 4, kernel_size=1, bias=False),
        )

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Differences of the aligned dates, first the one in the frame of date 2."""
        flow1, flow2 = self.flow_make(torch.cat([x1, x2], dim=1)).chunk(2, dim=1)
        return torch.cat([_warp(x1, flow1) - x2, _warp(x2, flow2) - x1], dim=1)


def _warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample features where a flow (x, y) points; one unit of it is half a pixel (Open-CD's scale).

    Shapes:
        x (N, C, H, W) and flow (N, 2, H, W) to (N, C, H, W).
    """
    height, width = x.shape[2:]
    rows, columns = (torch.linspace(-1, 1, size, device=x.device) for size in (height, width))
    here = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), dim=-1)
    # In single precision, for half precision cannot tell the pixels of a large map apart.
    step = flow.permute(0, 2, 3, 1).float() / here.new_tensor([width, height])
    return F.grid_sample(x.float(), here + step, align_corners=True).type_as(x)


@MODELS.register_module()
class Changer(BaseDecodeHead):
    """Head of Changer: SegFormer's all-MLP decoder for each date, FDAF, and a Mix-FFN as projection.

    Args:
        interpolate_mode: how coarse levels are brought to the finest one, ``'bilinear'`` or ``'bicubic'``.
        **kwargs: of MMSegmentation's ``BaseDecodeHead``; ``in_channels`` are those of *one* date.

    Shapes:
        inputs: (N, 2 in_channels[i], H_i, W_i), the dates side by side. Returns logits (N, out_channels, H_0, W_0).

    Raises:
        UserError: for an unknown interpolation, an odd number of channels, or in_index of another length.

    References:
        Fang et al., *Changer: Feature Interaction is What You Need for Change Detection*, TGRS 2023,
        arXiv 2209.08290. Outputs checked against Open-CD 1.1.
    """

    def __init__(self, interpolate_mode: str = 'bilinear', **kwargs: Any) -> None:
        if interpolate_mode not in _INTERPOLATIONS:
            raise UserError(
                f'interpolate_mode of Changer must be one of {", ".join(_INTERPOLATIONS)}, not {interpolate_mode!r}'
            )
        if kwargs['channels'] % 2:
            raise UserError(
                f'channels of Changer are halves of two dates: give an even number, not {kwargs["channels"]}'
            )
        if len(kwargs['in_channels']) != len(kwargs['in_index']):
            raise UserError(
                f'in_channels and in_index of Changer must name the same levels, not {kwargs["in_channels"]} '
                f'and {kwargs["in_index"]}'
            )
        super().__init__(input_transform='multiple_select', **kwargs)
        self.interpolate_mode = interpolate_mode
        self.convs = nn.ModuleList(
            ConvModule(c, self.channels, 1, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
            for c in self.in_channels
        )
        self.fusion_conv = ConvModule(
            self.channels * len(self.convs), self.channels // 2, 1, norm_cfg=self.norm_cfg
        )
        self.neck_layer = _FlowAlignment(self.channels // 2)
        self.discriminator = MixFFN(embed_dims=self.channels, feedforward_channels=self.channels)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of change from the features of both dates."""
        pairs = [x.chunk(2, dim=1) for x in self._transform_inputs(inputs)]
        difference = self.neck_layer(*(self._decode(date) for date in zip(*pairs, strict=True)))
        size = difference.shape[2:]
        return self.cls_seg(nlc_to_nchw(self.discriminator(nchw_to_nlc(difference), size), size))

    def _decode(self, levels: Sequence[Tensor]) -> Tensor:
        """One date: all levels at the resolution of the finest, as (N, channels / 2, H_0, W_0)."""
        size, mode = levels[0].shape[2:], self.interpolate_mode
        projected = (conv(x) for conv, x in zip(self.convs, levels, strict=True))
        resized = [resize(x, size, mode=mode, align_corners=self.align_corners) for x in projected]
        return self.fusion_conv(torch.cat(resized, dim=1))
