"""A high-resolution branch beside a backbone."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.registry import MODELS

__all__ = ['DetailBranch']


@MODELS.register_module()
class DetailBranch(BaseModule):
    """High-resolution branch beside a backbone: dense 3x3 convolutions from the full size of the image on [choice].

    The finest stage of a backbone has stride 4: outlines and small targets are lost there. The convolutions of a small
    backbone, often depthwise, also learn slowly without pre-training. The branch has one convolution at stride 1 and
    two at each of the strides 2, 4 and so on. :class:`SiamEncoderDecoder` runs it and tells :class:`VFPN` how many
    maps it has; the ``in_channels`` of :class:`FSAssociationHead` begin with their channels.

    Args:
        channels: channels of the maps, finest first; half of the first, which is even, is the width at stride 1.
        in_channels: bands of an image.
        norm_cfg: normalisation; batch norm unless given.
        init_cfg: initialisation of MMEngine.

    Shapes:
        (N, in_channels, H, W) to a tuple of (N, channels[k], ceil(H / 2^(k + 1)), ceil(W / 2^(k + 1))).

    Raises:
        UserError: for an odd number of channels of the first map.

    Example:
        >>> import torch
        >>> maps = DetailBranch(channels=(8, 16)).eval()(torch.rand(1, 3, 64, 64))
        >>> [tuple(one.shape) for one in maps]
        [(1, 8, 32, 32), (1, 16, 16, 16)]
    """

    def __init__(
        self,
        channels: Sequence[int] = (32,),
        in_channels: int = 3,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if channels[0] % 2:
            raise UserError(f'invalid channels {channels}: expected an even number first')
        norm_cfg = norm_cfg or dict(type='BN')
        self.channels = list(channels)
        widths = [channels[0] // 2, *channels]
        self.stem = ConvModule(in_channels, widths[0], 3, padding=1, norm_cfg=norm_cfg)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ConvModule(width, wider, 3, stride=2, padding=1, norm_cfg=norm_cfg),
                ConvModule(wider, wider, 3, padding=1, norm_cfg=norm_cfg),
            )
            for width, wider in pairwise(widths)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """High-resolution maps of an image, finest first."""
        if x.device.type == 'cpu':  # faster there, as in EfficientNetLite
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)
