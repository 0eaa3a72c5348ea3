"""Changer: a ResNet whose two dates interact after every stage, and a head that aligns them by optical flow.

Fang et al., *Changer: Feature Interaction is What You Need for Change Detection*, TGRS 2023, arXiv 2209.08290. Outputs
and running statistics checked against Open-CD 1.1.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from mmseg.models.backbones import ResNet
from mmseg.models.backbones.mit import MixFFN
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import nchw_to_nlc, nlc_to_nchw, resize
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import MODELS

__all__ = [
    'Aggregation_distribution',
    'Changer',
    'ChannelExchange',
    'IA_ResNet',
    'IA_ResNetV1c',
    'SpatialExchange',
    'TwoIdentity',
    'warp',
]


@MODELS.register_module()
class TwoIdentity(BaseModule):
    """No interaction; what ``None`` in ``interaction_cfg`` stands for."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both dates as they are."""
        return x1, x2


class _Exchange(BaseModule):
    """Exchange every int(1/p)-th slice of the features between the dates, the first one included.

    So only p = 1/2, 1/3, ... are the share that is really exchanged; this is Open-CD's rule.

    Args:
        p: share of the slices to exchange, in (0, 1].

    Shapes:
        Two tensors of (N, C, H, W) in and out.

    Raises:
        UserError: for a share outside (0, 1].
    """

    dim: int
    """The dimension that is sliced."""

    def __init__(self, p: float = 1 / 2) -> None:
        super().__init__()
        if not 0 < p <= 1:
            raise UserError(
                f'invalid p {p} of {type(self).__name__}: expected the share of features to exchange, '
                'above 0 and at most 1'
            )
        self.period = int(1 / p)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both dates after the exchange."""
        shape = [1] * x1.ndim
        shape[self.dim] = -1
        exchanged = (torch.arange(x1.shape[self.dim], device=x1.device) % self.period == 0).view(shape)
        return torch.where(exchanged, x2, x1), torch.where(exchanged, x1, x2)


@MODELS.register_module()
class ChannelExchange(_Exchange):
    """Exchange every int(1/p)-th channel between the dates."""

    dim = 1


@MODELS.register_module()
class SpatialExchange(_Exchange):
    """Exchange every int(1/p)-th column between the dates."""

    dim = 3


@MODELS.register_module()
class Aggregation_distribution(BaseModule):  # noqa: N801
    r"""Changer's aggregation and distribution: channel weights for each date from what both have in common.

    .. math:: a = W_2\,\mathrm{ReLU}(\mathrm{BN}(W_1\,\mathrm{GAP}(x_1 + x_2))), \quad x_t \sigma(a_t)

    Args:
        channels: channels C of the features.
        num_paths: number of dates; there are two.
        attn_channels: channels between the two layers, at least 8; C / 16 if not given.
        act_cfg: activation between them.
        norm_cfg: normalisation between them.

    Shapes:
        Two tensors of (N, C, H, W) in and out.

    Raises:
        UserError: for another number of dates.
    """

    def __init__(
        self,
        channels: int,
        num_paths: int = 2,
        attn_channels: int | None = None,
        act_cfg: dict | None = None,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        if num_paths != 2:
            raise UserError(
                f'invalid num_paths {num_paths} of Aggregation_distribution: expected 2, one for each date'
            )
        width = max(attn_channels or channels // 16, 8)
        self.fc_reduce = nn.Conv2d(channels, width, kernel_size=1, bias=False)
        self.bn = build_norm_layer(norm_cfg or dict(type='BN'), width)[1]
        self.act = build_activation_layer(act_cfg or dict(type='ReLU'))
        self.fc_select = nn.Conv2d(width, 2 * channels, kernel_size=1, bias=False)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted features of both dates."""
        common = (x1 + x2).mean(dim=(2, 3), keepdim=True)
        a1, a2 = self.fc_select(self.act(self.bn(self.fc_reduce(common)))).sigmoid().chunk(2, dim=1)
        return x1 * a1, x2 * a2


@MODELS.register_module()
class IA_ResNet(ResNet):  # noqa: N801
    """The Siamese backbone of Changer: MMSegmentation's ResNet with an interaction layer after each stage.

    Args:
        interaction_cfg: an interaction layer of this module for every stage, or None for no interaction.
        **kwargs: of MMSegmentation's ``ResNet``.

    Shapes:
        Two images of (N, 3, H, W) in; for each of ``out_indices`` (N, 2 C_i, H_i, W_i) out, first date first.

    Raises:
        UserError: unless there is one interaction for each stage.
    """

    def __init__(
        self, interaction_cfg: Sequence[dict | None] = (None, None, None, None), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if len(interaction_cfg) != self.num_stages:
            raise UserError(
                f'invalid interaction_cfg of {len(interaction_cfg)} entries: expected one entry (or None) '
                f'for each of the {self.num_stages} stages'
            )
        self.ccs = nn.ModuleList(MODELS.build(cfg or dict(type='TwoIdentity')) for cfg in interaction_cfg)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, ...]:
        """Features of both dates, side by side in the channels."""
        x1, x2 = self._stem(x1), self._stem(x2)
        outs = []
        for index, (name, interact) in enumerate(zip(self.res_layers, self.ccs, strict=True)):
            stage = getattr(self, name)
            x1, x2 = interact(stage(x1), stage(x2))
            if index in self.out_indices:
                outs.append(torch.cat([x1, x2], dim=1))
        return tuple(outs)

    def _stem(self, x: Tensor) -> Tensor:
        """One date at a quarter of the resolution."""
        return self.maxpool(self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x))))


@MODELS.register_module()
class IA_ResNetV1c(IA_ResNet):  # noqa: N801
    """:class:`IA_ResNet` with three 3x3 convolutions for a stem."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(deep_stem=True, avg_down=False, **kwargs)


_INTERPOLATIONS = ('bilinear', 'bicubic')


class _FlowAlignment(nn.Module):
    """Flow-based dual alignment and fusion (FDAF): each date, warped onto the other, minus the other.

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
        return torch.cat([warp(x1, flow1) - x2, warp(x2, flow2) - x1], dim=1)


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample features where a flow (x, y) points; one unit of it is half a pixel (Open-CD's scale).

    Shapes:
        x (N, C, H, W) and flow (N, 2, H, W) to (N, C, H, W).
    """
    # In single precision: half precision cannot tell the pixels of a large map apart. Sizes stay symbols in exports.
    rows, columns = (
        torch.arange(size, device=x.device, dtype=torch.float) * (2 / max(size - 1, 1)) - 1
        for size in x.shape[2:]
    )
    height, width = x.shape[2:]
    to_x = columns + flow[:, 0].float() / width
    to_y = rows[:, None] + flow[:, 1].float() / height
    return F.grid_sample(x.float(), torch.stack([to_x, to_y], dim=-1), align_corners=True).type_as(x)


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
    """

    def __init__(self, interpolate_mode: str = 'bilinear', **kwargs: Any) -> None:
        if interpolate_mode not in _INTERPOLATIONS:
            raise UserError(
                f'invalid interpolate_mode {interpolate_mode!r} of Changer: expected one of '
                f'{", ".join(_INTERPOLATIONS)}'
            )
        if kwargs['channels'] % 2:
            raise UserError(
                f'invalid channels {kwargs["channels"]} of Changer: expected an even number, half for '
                'each date'
            )
        if len(kwargs['in_channels']) != len(kwargs['in_index']):
            raise UserError(
                f'invalid in_channels {kwargs["in_channels"]} and in_index {kwargs["in_index"]} of '
                'Changer: expected one of each per level'
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
