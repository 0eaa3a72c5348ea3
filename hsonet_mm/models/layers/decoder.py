"""The light-weight decoder that merges a pyramid into one map, and one that refines a map by finer maps."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

__all__ = ['DetailDecoder', 'PyramidDecoder']


class _JoinedConv(nn.Conv2d):
    """A convolution of maps side by side.

    Training on a CPU convolves each map with its part of the kernel and adds the results: the same function, without
    the copies of large maps that the backward pass of a concatenation makes. Otherwise the maps are concatenated, so
    that exports can fold the norm that follows into one convolution.
    """

    def forward(self, maps: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        """From maps of one height and width, whose channels add up to ``in_channels``, to (N, out_channels, H, W)."""
        if not self.training or maps[0].device.type != 'cpu':
            return super().forward(torch.cat(list(maps), dim=1))
        kernels = self.weight.split([x.shape[1] for x in maps], dim=1)
        first = self._conv_forward(maps[0], kernels[0], self.bias)
        others = zip(maps[1:], kernels[1:], strict=True)
        return sum((self._conv_forward(x, kernel, None) for x, kernel in others), first)


class _Decoder(BaseModule):
    """3x3 convolutions with norm and ReLU, and bilinear upsampling."""

    def __init__(self, norm_cfg: dict | None, align_corners: bool) -> None:
        super().__init__()
        self.norm_cfg = norm_cfg
        self.align_corners = align_corners

    def block(self, in_channels: int, channels: int, conv_cfg: dict[str, Any] | None = None) -> ConvModule:
        return ConvModule(in_channels, channels, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=self.norm_cfg)

    def resize(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return F.interpolate(x, size, mode='bilinear', align_corners=self.align_corners)


class PyramidDecoder(_Decoder):
    """Mean of all pyramid levels, each convolved and upsampled step by step to the finest one [code, FarSeg].

    FarSeg upsamples with ``align_corners=True`` [code]. The default here is False, which keeps the pixels of all levels
    where they are when sizes are not multiples of each other [choice]; the shipped configs of HSONet were trained so.

    Level k (0 is the finest) takes max(1, k) blocks of 3x3 convolution, batch norm and ReLU, each followed by bilinear
    upsampling to the size of the next finer level where there is one; so odd sizes work. The last upsampling, which is
    linear, is that of the sum of all levels but the finest.

    Args:
        in_channels: channels of each level, finest first.
        channels: channels of the output.
        norm_cfg: normalisation of the blocks; None for none.
        align_corners: of the bilinear upsampling.

    Shapes:
        (N, in_channels[k], H_k, W_k) for each level to (N, channels, H_0, W_0).

    Example:
        >>> decoder = PyramidDecoder(in_channels=[8, 8], channels=4)
        >>> tuple(decoder([torch.rand(1, 8, 32, 32), torch.rand(1, 8, 16, 16)]).shape)
        (1, 4, 32, 32)
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        norm_cfg: dict | None = None,
        align_corners: bool = False,
    ) -> None:
        super().__init__(norm_cfg, align_corners)
        self.levels = nn.ModuleList(
            nn.ModuleList(self.block(width if step == 0 else channels, channels) for step in range(max(1, k)))
            for k, width in enumerate(in_channels)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Decode a pyramid, finest level first."""
        sizes = [level.shape[2:] for level in levels]
        decoded = []
        for k, (x, blocks) in enumerate(zip(levels, self.levels, strict=True)):
            for step, block in enumerate(blocks.children()):
                if step > 0:
                    x = self.resize(x, sizes[k - step])
                x = block(x)
            decoded.append(x)
        result, *coarser = decoded  # of the sizes of the finest level and of the next
        if coarser:
            result = result + self.resize(sum(coarser[1:], coarser[0]), sizes[0])
        return result / len(decoded)


class DetailDecoder(_Decoder):
    """Refines a map by high-resolution maps, as the decoder of a U-Net does [choice].

    From the coarsest high-resolution map to the finest: the result so far is upsampled bilinearly, concatenated with
    the map, and goes through a block of 3x3 convolution, batch norm and ReLU. The map to refine is concatenated at the
    finest resolution, where there are two blocks.

    Args:
        in_channels: channels of each high-resolution map, finest first.
        context_channels: channels of the map to refine.
        channels: channels of the blocks; those at the finest resolution have ``in_channels[0]``.
        norm_cfg: normalisation of the blocks; None for none.
        align_corners: of the bilinear upsampling.

    Shapes:
        detail (N, in_channels[k], H_k, W_k), context (N, context_channels, h, w) of any size, to
        (N, in_channels[0], H_0, W_0).

    Example:
        >>> decoder = DetailDecoder(in_channels=[4, 8], context_channels=6, channels=8)
        >>> detail = [torch.rand(1, 4, 32, 32), torch.rand(1, 8, 16, 16)]
        >>> tuple(decoder(detail, torch.rand(1, 6, 8, 8)).shape)
        (1, 4, 32, 32)
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        context_channels: int,
        channels: int,
        norm_cfg: dict | None = None,
        align_corners: bool = False,
    ) -> None:
        super().__init__(norm_cfg, align_corners)
        finest, *coarser = in_channels
        blocks, below = [], 0
        for width in reversed(coarser):
            blocks.append(self._joined_block(width + below, channels))
            below = channels
        self.coarser = nn.ModuleList(blocks)  # coarsest first
        self.finest = nn.Sequential(
            self._joined_block(finest + below + context_channels, finest), self.block(finest, finest)
        )

    def forward(self, detail: Sequence[Tensor], context: Tensor) -> Tensor:
        """Refine the context by the high-resolution maps, finest first."""
        finest, *coarser = detail
        below: list[Tensor] = []
        for x, block in zip(reversed(coarser), self.coarser, strict=True):
            below = [block(self._of_one_size(x, below))]
        return self.finest(self._of_one_size(finest, [*below, context]))

    def _joined_block(self, in_channels: int, channels: int) -> ConvModule:
        return self.block(in_channels, channels, dict(type=_JoinedConv))

    def _of_one_size(self, x: Tensor, others: Sequence[Tensor]) -> list[Tensor]:
        return [x, *(self.resize(y, x.shape[2:]) for y in others)]
