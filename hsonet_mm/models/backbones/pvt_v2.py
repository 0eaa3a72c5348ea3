"""Pyramid Vision Transformer v2, the transformer backbone.

Wang et al., *PVT v2: Improved Baselines with Pyramid Vision Transformer*, Computational Visual Media 2022,
arXiv 2106.13797. The HSONet paper names PVT as a backbone; version 2 and its sizes are our choice. The
parameters are named as in the authors' checkpoints, so that these load as they are.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.models.backbones.weights import fitting
from hsonet_mm.registry import MODELS

__all__ = ['PVTv2', 'SpatialReductionAttention']

_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)
_MLP_RATIOS = (8, 8, 4, 4)
_MIN_SIZE = 29  # the first stage has ceil(size / 4) tokens a side and reduces them by 8
_VARIANTS = {
    'b0': ((32, 64, 160, 256), (2, 2, 2, 2)),
    'b1': ((64, 128, 320, 512), (2, 2, 2, 2)),
    'b2': ((64, 128, 320, 512), (3, 4, 6, 3)),
}
"""Channels and depths of the stages."""


class _OverlapPatchEmbed(nn.Module):
    """Cut a map into overlapping patches, one token each: (N, C, H, W) -> (N, h * w, channels), h, w."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        x = self.proj(x)
        height, width = x.shape[-2:]
        return self.norm(x.flatten(2).transpose(1, 2)), height, width


class SpatialReductionAttention(nn.Module):
    """Multi-head attention of all tokens to a map reduced ``reduction`` times by a strided convolution."""

    def __init__(self, channels: int, heads: int, reduction: int):
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Attend from the tokens (N, height * width, C) of a map to the reduced map."""
        n, tokens, channels = x.shape
        q = self.q(x).view(n, tokens, self.heads, -1).transpose(1, 2)  # N, heads, tokens, channels per head
        if self.reduction > 1:
            x = self.sr(x.transpose(1, 2).reshape(n, channels, height, width))
            x = self.norm(x.flatten(2).transpose(1, 2))
        k, v = self.kv(x).view(n, x.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(n, tokens, channels))


class _DepthwiseConv(nn.Module):
    """A 3x3 depthwise convolution of tokens; it also encodes their position."""

    def __init__(self, channels: int):
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        n, _, channels = x.shape
        x = self.dwconv(x.transpose(1, 2).reshape(n, channels, height, width))
        return x.flatten(2).transpose(1, 2)


class _ConvFFN(nn.Module):
    """The feed-forward network with a depthwise convolution before its activation."""

    def __init__(self, channels: int, ratio: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, channels * ratio)
        self.dwconv = _DepthwiseConv(channels * ratio)
        self.fc2 = nn.Linear(channels * ratio, channels)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        return self.fc2(F.gelu(self.dwconv(self.fc1(x), height, width)))


class _Block(nn.Module):
    """Attention and feed-forward network, each with a norm before and a shortcut around it."""

    def __init__(self, channels: int, heads: int, reduction: int, mlp_ratio: int, drop_path_rate: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = SpatialReductionAttention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = _ConvFFN(channels, mlp_ratio)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), height, width))
        return x + self.drop_path(self.mlp(self.norm2(x), height, width))


@MODELS.register_module()
class PVTv2(BaseModule):
    """Pyramid Vision Transformer v2 without its classifier.

    The authors' ImageNet weights load as they are::

        init_cfg = dict(
            type='Pretrained',
            checkpoint='https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b1.pth',
        )

    Args:
        variant: 'b0', 'b1' or 'b2'.
        out_indices: which of the four levels to return, counted from 0.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0.
        in_channels: bands of an image; published weights for three are adapted.
        init_cfg: initialisation of MMEngine; without it the authors' random one.

    Shapes:
        - Input: ``(N, in_channels, H, W)``, H and W at least 29.
        - Output: tuple of ``(N, out_channels[i], ceil(H / s), ceil(W / s))`` with strides s = 4, 8, 16, 32.

    Raises:
        UserError: for an unknown variant or level; in forward for an image that is too small.

    Example:
        >>> import torch
        >>> levels = PVTv2(variant='b0').eval()(torch.rand(1, 3, 64, 64))
        >>> [tuple(level.shape[1:]) for level in levels]
        [(32, 16, 16), (64, 8, 8), (160, 4, 4), (256, 2, 2)]
    """

    def __init__(
        self,
        variant: str = 'b0',
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.1,
        in_channels: int = 3,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ):
        super().__init__(init_cfg)
        if variant not in _VARIANTS:
            raise UserError(f'invalid variant {variant!r} of PVTv2: expected b0, b1 or b2')
        if not out_indices or not set(out_indices) <= {0, 1, 2, 3}:
            raise UserError(f'invalid out_indices {out_indices!r} of PVTv2: expected some of 0, 1, 2, 3')
        self.variant = variant
        self.out_indices = tuple(out_indices)
        channels, depths = _VARIANTS[variant]
        self.out_channels = tuple(channels[i] for i in self.out_indices)

        last = sum(depths) - 1
        for i, depth in enumerate(depths):
            embed = (
                _OverlapPatchEmbed(channels[i - 1], channels[i], 3, 2)
                if i
                else _OverlapPatchEmbed(in_channels, channels[0], 7, 4)
            )
            rates = [drop_path_rate * (sum(depths[:i]) + j) / last for j in range(depth)]
            blocks = [_Block(channels[i], _HEADS[i], _REDUCTIONS[i], _MLP_RATIOS[i], rate) for rate in rates]
            self.add_module(f'patch_embed{i + 1}', embed)
            self.add_module(f'block{i + 1}', nn.ModuleList(blocks))
            self.add_module(f'norm{i + 1}', nn.LayerNorm(channels[i], eps=1e-6))
        self._num_stages = max(self.out_indices) + 1
        for i in range(self._num_stages + 1, 5):  # not computed, so that they have no gradients either
            for name in ('patch_embed', 'block', 'norm'):
                self.get_submodule(f'{name}{i}').requires_grad_(False)
        self._init_as_published()

    def _init_as_published(self) -> None:
        """Truncated normal for linear layers, He's over the fan-out for convolutions, zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the chosen levels, finest first."""
        n, _, *size = x.shape
        if min(size) < _MIN_SIZE:
            raise UserError(
                f'invalid input of {size[0]} x {size[1]} pixels: expected at least {_MIN_SIZE} x '
                f'{_MIN_SIZE} for PVTv2'
            )
        levels = []
        for i in range(1, self._num_stages + 1):
            x, height, width = self.get_submodule(f'patch_embed{i}')(x)
            for block in self.get_submodule(f'block{i}').children():
                x = block(x, height, width)
            x = self.get_submodule(f'norm{i}')(x)
            x = x.transpose(1, 2).reshape(n, -1, height, width)
            levels.append(x)
        return tuple(levels[i] for i in self.out_indices)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Leave the classifier of the published weights out."""
        if f'{prefix}head.weight' in state_dict:
            del state_dict[f'{prefix}head.weight'], state_dict[f'{prefix}head.bias']
            published = {key.removeprefix(prefix): weight for key, weight in state_dict.items()}
            published = fitting(published, self, 'patch_embed1.proj.weight', f'PVTv2({self.variant!r})')
            state_dict.update({prefix + key: weight for key, weight in published.items()})
        super()._load_from_state_dict(state_dict, prefix, *args)
