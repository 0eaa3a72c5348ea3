"""The three fully convolutional networks of Daudt et al., the classical baselines of change detection.

Daudt, Le Saux and Boulch, *Fully Convolutional Siamese Networks for Change Detection*, ICIP 2018, arXiv 1810.08462.
Checked against Open-CD 1.1.0: names, fields and state-dict keys are its own, outputs are equal for equal weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import MODELS

__all__ = ['FC_EF', 'FC_Siam_conc', 'FC_Siam_diff']

_DEPTHS = (2, 2, 3, 3)  # convolutions of each stage, in the encoder and again in the decoder


class _FullyConvolutional(nn.Module):
    """The U-Net that the three share; they differ in what enters it and what its skip connections carry.

    Stage s has convolutions ``conv{s}{j}`` in the encoder and, transposed, ``conv{s}{j}d`` in the decoder, each with
    batch norm, ReLU and dropout of whole channels; the very last one is bare. Widths double from stage to stage.

    Shapes:
        t1, t2 (N, C, H, W) of any size from 16 pixels; returns a tuple of one (N, base_channel, H, W).

    Raises:
        UserError: for widths below 1.
    """

    skips = 1
    """Maps of the encoder that a skip connection carries."""

    def __init__(self, in_channels: int, base_channel: int = 16) -> None:
        super().__init__()
        if in_channels < 1 or base_channel < 1:
            raise UserError(
                f'invalid in_channels={in_channels}, base_channel={base_channel} of '
                f'{type(self).__name__}: expected 1 or more of each'
            )
        widths = [base_channel * 2**i for i in range(len(_DEPTHS))]
        stages = list(enumerate(zip(widths, _DEPTHS, strict=True), 1))
        channels = in_channels
        for stage, (width, depth) in stages:
            for j in range(1, depth + 1):
                self.add_module(f'conv{stage}{j}', nn.Conv2d(channels, width, 3, padding=1))
                self.add_module(f'bn{stage}{j}', nn.BatchNorm2d(width))
                channels = width
        for stage, (width, depth) in reversed(stages):
            self.add_module(
                f'upconv{stage}', nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
            )
            channels = (1 + self.skips) * width
            for j in range(depth, 0, -1):
                finer = width if j > 1 or stage == 1 else width // 2
                self.add_module(f'conv{stage}{j}d', nn.ConvTranspose2d(channels, finer, 3, padding=1))
                if (stage, j) != (1, 1):
                    self.add_module(f'bn{stage}{j}d', nn.BatchNorm2d(finer))
                channels = finer
        self.dropout = nn.Dropout2d(0.2)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The pooled output of the deepest stage, and the outputs of all stages before pooling, finest first."""
        features = []
        for stage, depth in enumerate(_DEPTHS, 1):
            for j in range(1, depth + 1):
                x = self._layer(x, f'{stage}{j}')
            features.append(x)
            x = F.max_pool2d(x, 2)
        return x, features

    def decode(self, x: Tensor, skips: list[Tensor]) -> tuple[Tensor]:
        """Back to full size, stage by stage, from the deepest map and the skip connections, finest first."""
        for stage, (depth, skip) in reversed(list(enumerate(zip(_DEPTHS, skips, strict=True), 1))):
            x = self.get_submodule(f'upconv{stage}')(x)
            missing = [have - got for have, got in zip(skip.shape[2:], x.shape[2:], strict=True)]  # odd sizes
            x = torch.cat([F.pad(x, (0, missing[1], 0, missing[0]), mode='replicate'), skip], dim=1)
            for j in range(depth, 1 if stage == 1 else 0, -1):
                x = self._layer(x, f'{stage}{j}d')
        return (self.get_submodule('conv11d')(x),)

    def _layer(self, x: Tensor, name: str) -> Tensor:
        x = self.get_submodule(f'bn{name}')(self.get_submodule(f'conv{name}')(x))
        return self.dropout(F.relu(x))


@MODELS.register_module()
class FC_EF(_FullyConvolutional):  # noqa: N801 (Open-CD's name)
    """Early fusion: both dates enter the network as one image; ``in_channels`` are those of both together.

    Raises:
        UserError: for an odd number of channels.

    Example:
        >>> t1, t2 = torch.rand(2, 1, 3, 32, 32)
        >>> (features,) = FC_EF(6).eval()(t1, t2)
        >>> tuple(features.shape)
        (1, 16, 32, 32)
    """

    def __init__(self, in_channels: int, base_channel: int = 16) -> None:
        if in_channels % 2:
            raise UserError(
                f'invalid in_channels {in_channels} of FC_EF: expected the channels of both dates '
                'together, an even number such as 6 for RGB'
            )
        super().__init__(in_channels, base_channel)

    def forward(self, t1: Tensor, t2: Tensor) -> tuple[Tensor]:
        """Features of the pair at full size."""
        return self.decode(*self.encode(torch.cat([t1, t2], dim=1)))


@MODELS.register_module()
class FC_Siam_diff(_FullyConvolutional):  # noqa: N801
    """One encoder for each date in turn; the skip connections carry the absolute difference of the dates.

    The deepest map is that of the second date alone, as in the authors' code. So the order of the dates matters.
    """

    def forward(self, t1: Tensor, t2: Tensor) -> tuple[Tensor]:
        """Features of the pair at full size."""
        _, features_t1 = self.encode(t1)
        x, features_t2 = self.encode(t2)
        return self.decode(x, list(map(self.fuse, features_t1, features_t2)))

    def fuse(self, t1: Tensor, t2: Tensor) -> Tensor:
        """What a skip connection carries."""
        return (t1 - t2).abs()


@MODELS.register_module()
class FC_Siam_conc(FC_Siam_diff):  # noqa: N801
    """The same with skip connections that carry the features of both dates."""

    skips = 2

    def fuse(self, t1: Tensor, t2: Tensor) -> Tensor:
        """What a skip connection carries."""
        return torch.cat([t1, t2], dim=1)
