"""SNUNet-CD: a Siamese encoder with the densely nested decoder of UNet++ and channel attention over its outputs.

Fang, Li, Shao and Li, *SNUNet-CD: A Densely Connected Siamese Network for Change Detection of VHR Images*, IEEE GRSL
19, 2022, doi 10.1109/LGRS.2021.3056416. Checked against Open-CD 1.1.0: name, fields and state-dict keys are its own,
outputs are equal for equal weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsonet_mm.baselines.sizes import check_multiple
from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import MODELS

__all__ = ['SNUNet_ECAM']

_LEVELS = 5


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm; the shortcut starts behind the first, so that widths may differ."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(x)))) + x)


class _Up(nn.Module):
    """Twice the size, by a transposed convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x)


class _ChannelAttention(nn.Module):
    """A weight in (0, 1) for each channel, from its mean and its maximum (CBAM, arXiv 1807.06521)."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // ratio, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // ratio, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = (F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1))
        return sum(self.fc2(F.relu(self.fc1(p))) for p in pooled).sigmoid()


@MODELS.register_module()
class SNUNet_ECAM(nn.Module):  # noqa: N801 (Open-CD's name)
    """SNUNet-CD with its ensemble channel attention.

    Node ``conv{i}_{j}`` is the j-th of level i. The nodes with j = 0 are the encoder, which processes the dates one by
    one. The inputs of every other node are the outputs of all earlier nodes of its level, those of both dates first,
    and the upsampled output of the previous node of the coarser level. Encoder outputs are upsampled for the second
    date only, and the coarsest level never sees the first, so the order of the dates matters. The attention weights the
    outputs of the four decoder nodes of full size.

    Args:
        in_channels: Channels of one date.
        base_channel: Width of the finest level, at least 4; it doubles from level to level.

    Shapes:
        t1, t2 (N, in_channels, H, W) with H and W multiples of 16; returns a tuple of one (N, 4 base_channel, H, W).

    Raises:
        UserError: for widths that are too small, or images of another size.

    Example:
        >>> t1, t2 = torch.rand(2, 1, 3, 32, 32)
        >>> (features,) = SNUNet_ECAM(3, base_channel=4).eval()(t1, t2)
        >>> tuple(features.shape)
        (1, 16, 32, 32)
    """

    def __init__(self, in_channels: int, base_channel: int = 32) -> None:
        super().__init__()
        if in_channels < 1 or base_channel < 4:
            raise UserError(
                f'invalid in_channels={in_channels}, base_channel={base_channel} of SNUNet_ECAM: expected '
                'at least 1 and 4'
            )
        widths = [base_channel * 2**i for i in range(_LEVELS)]
        for j in range(_LEVELS):
            for i in range(_LEVELS - j):
                channels = (j + 1) * widths[i] + widths[i + 1] if j else [in_channels, *widths][i]
                self.add_module(f'conv{i}_{j}', _ResidualBlock(channels, widths[i]))
                if i:
                    self.add_module(f'Up{i}_{j}', _Up(widths[i]))
        self.ca = _ChannelAttention(4 * base_channel, ratio=16)
        self.ca1 = _ChannelAttention(base_channel, ratio=4)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')

    def forward(self, t1: Tensor, t2: Tensor) -> tuple[Tensor]:
        """Features of the pair at full size."""
        check_multiple('SNUNet_ECAM', t1, 2 ** (_LEVELS - 1))
        features_t1 = self._encode(t1, _LEVELS - 1)
        *features_t2, coarsest = self._encode(t2, _LEVELS)
        levels = [*map(list, zip(features_t1, features_t2, strict=True)), [coarsest]]
        for j in range(1, _LEVELS):
            for i in range(_LEVELS - j):
                enlarged = self.get_submodule(f'Up{i + 1}_{j - 1}')(levels[i + 1][-1])
                levels[i].append(self.get_submodule(f'conv{i}_{j}')(torch.cat([*levels[i], enlarged], dim=1)))
        outputs = levels[0][2:]
        single = self.ca1(torch.stack(outputs).sum(dim=0))
        merged = torch.cat(outputs, dim=1)
        return (self.ca(merged) * (merged + single.repeat(1, len(outputs), 1, 1)),)

    def _encode(self, x: Tensor, levels: int) -> list[Tensor]:
        """The given number of levels of one date, finest first."""
        features = [self.get_submodule('conv0_0')(x)]
        for i in range(1, levels):
            features.append(self.get_submodule(f'conv{i}_0')(F.max_pool2d(features[-1], 2)))
        return features
