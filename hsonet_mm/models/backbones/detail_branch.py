"""A branch of fine detail beside a backbone."""

from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from hsonet_mm.registry import MODELS

__all__ = ['DetailBranch']


@MODELS.register_module()
class DetailBranch(BaseModule):
    """Three dense convolutions that see the image at full size, for beside any backbone [choice].

    The finest stage of a backbone has stride 4: outlines and small targets are lost there. Its first convolutions,
    often depthwise, also learn slowly without pre-training. The branch has stride 2. It is shallow and narrow, but
    works on large maps: with the refinement in the head, HSONet-lite has 0.05 M parameters more with it and 3.71 GMACs
    instead of 2.67. :class:`SiamEncoderDecoder` runs it; :class:`VFPN` and :class:`FSAssociationHead` take its output
    where they are told ``detail=True``.

    Args:
        channels: channels of the output; even.
        in_channels: bands of an image.
        norm_cfg: normalisation; batch norm unless given.
        init_cfg: initialisation of MMEngine.

    Shapes:
        (N, in_channels, H, W) to (N, channels, ceil(H / 2), ceil(W / 2)).

    Raises:
        ValueError: for an odd number of channels.
    """

    def __init__(
        self,
        channels: int = 32,
        in_channels: int = 3,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if channels % 2:
            raise ValueError(f'channels must be even, not {channels}')
        norm_cfg = norm_cfg or dict(type='BN')
        self.convs = nn.Sequential(
            ConvModule(in_channels, channels // 2, 3, padding=1, norm_cfg=norm_cfg),
            ConvModule(channels // 2, channels, 3, stride=2, padding=1, norm_cfg=norm_cfg),
            ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The detail of an image."""
        if x.device.type == 'cpu':  # faster there, as in EfficientNetLite
            x = x.contiguous(memory_format=torch.channels_last)
        return self.convs(x)
