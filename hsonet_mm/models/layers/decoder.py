"""The light-weight decoder that brings a pyramid to one map."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

__all__ = ['PyramidDecoder']


class PyramidDecoder(BaseModule):
    """Mean of all pyramid levels, each convolved and upsampled step by step to the finest one [code, FarSeg].

    Level k (0 is the finest) takes max(1, k) blocks of 3x3 convolution, batch norm and ReLU, each followed by bilinear
    upsampling to the size of the next finer level where there is one; so odd sizes work.

    Args:
        in_channels: channels of each level, finest first.
        channels: channels of the output.
        norm_cfg: normalisation of the blocks.
        align_corners: of the bilinear upsampling.

    Shapes:
        (N, in_channels[k], H_k, W_k) for each level to (N, channels, H_0, W_0).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        norm_cfg: dict | None = None,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')
        self.align_corners = align_corners
        self.levels = nn.ModuleList(
            nn.ModuleList(
                ConvModule(width if step == 0 else channels, channels, 3, padding=1, norm_cfg=norm_cfg)
                for step in range(max(1, k))
            )
            for k, width in enumerate(in_channels)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Decode a pyramid, finest level first."""
        sizes = [level.shape[2:] for level in levels]
        decoded = []
        for k, (x, blocks) in enumerate(zip(levels, self.levels, strict=True)):
            for step, block in enumerate(blocks.children()):
                x = block(x)
                if k > 0:
                    size = sizes[k - 1 - step]
                    x = F.interpolate(x, size=size, mode='bilinear', align_corners=self.align_corners)
            decoded.append(x)
        return torch.stack(decoded).mean(dim=0)
