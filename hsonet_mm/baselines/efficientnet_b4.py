"""The first stages of EfficientNet-B4 with torchvision's names, since a standalone install has no torchvision.

EfficientNet (Tan and Le, ICML 2019, arXiv 1905.11946), scaled by 1.4 in width and 1.8 in depth. Checked against
torchvision 0.28: equal outputs for equal weights.
"""

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

__all__ = ['first_stages']

# Expansion, kernel, stride, channels and blocks of the stages at strides 2, 4 and 8.
_STAGES = ((1, 3, 1, 24, 2), (6, 3, 2, 32, 4), (6, 5, 2, 56, 4))
_ALL_BLOCKS = 32  # of all seven stages
_DROP_PATH_RATE = 0.2  # at the end of all stages; it grows linearly from 0


def first_stages() -> nn.ModuleList:
    """Stem (48 channels, stride 2) and three stages (24, 32 and 56 channels; strides 2, 4 and 8) for RGB images."""
    stages = nn.ModuleList([_conv(3, 48, 3, stride=2)])
    channels, index = 48, 0
    for expansion, kernel, stride, out_channels, count in _STAGES:
        blocks = []
        for i in range(count):
            rate = _DROP_PATH_RATE * index / _ALL_BLOCKS
            blocks.append(_MBConv(channels, out_channels, expansion, kernel, 1 if i else stride, rate))
            channels, index = out_channels, index + 1
        stages.append(nn.Sequential(*blocks))
    for module in stages.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out')
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return stages


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and, if active, SiLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
    ]
    if active:
        layers.append(nn.SiLU(inplace=True))
    return nn.Sequential(*layers)


class _SqueezeExcitation(nn.Module):
    """A weight in (0, 1) for each channel, from the means of all channels (arXiv 1709.01507)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = nn.functional.adaptive_avg_pool2d(x, 1)
        return x * self.fc2(nn.functional.silu(self.fc1(means))).sigmoid()


class _MBConv(nn.Module):
    """1x1 expansion, depthwise convolution, squeeze and excitation, linear 1x1 projection; a shortcut if it fits."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        kernel: int,
        stride: int,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        channels = expansion * in_channels
        self.block = nn.Sequential(
            *([_conv(in_channels, channels, 1)] if expansion > 1 else []),
            _conv(channels, channels, kernel, stride, groups=channels),
            _SqueezeExcitation(channels, in_channels // 4),
            _conv(channels, out_channels, 1, active=False),
        )
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        return x + self.drop_path(y) if self.has_shortcut else y
