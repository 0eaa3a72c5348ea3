"""TinyCD: the first stages of EfficientNet-B4, pixel-wise mixing of the dates, and a decoder of attention masks.

Codegoni, Lombardi and Ferrari, *TINYCD: A (Not So) Deep Learning Model For Change Detection*, arXiv 2207.13159.
Checked against Open-CD 1.1.0: name, fields and state-dict keys are its own, outputs are equal for equal weights. With
the authors' classifier the keys are those of their public code, github.com/AndreaCodegoni/Tiny_model_4_CD.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.models.layers.inverted_residual import InvertedResidual
from hsonet_mm.registry import MODELS

__all__ = ['TinyCD', 'first_stages']

# Expansion, kernel, stride, channels and blocks of the stages at strides 2, 4 and 8.
_STAGES = ((1, 3, 1, 24, 2), (6, 3, 2, 32, 4), (6, 5, 2, 56, 4))
_ALL_BLOCKS = 32  # of all seven stages
_DROP_PATH_RATE = 0.2  # at the end of all stages; it grows linearly from 0


def first_stages() -> nn.ModuleList:
    """Stem and three stages of EfficientNet-B4 for RGB images, with torchvision's names: a standalone install lacks it.

    EfficientNet (Tan and Le, ICML 2019, arXiv 1905.11946), scaled by 1.4 in width and 1.8 in depth. Checked against
    torchvision 0.28: equal outputs for equal weights.

    Shapes:
        The stem gives 48 channels at stride 2; the stages give 24, 32 and 56 channels at strides 2, 4 and 8.
    """
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


class _MBConv(InvertedResidual):
    """1x1 expansion, depthwise convolution, squeeze and excitation, linear 1x1 projection."""

    def build(self, in_channels: int, channels: int, out_channels: int, kernel: int, stride: int) -> None:
        self.block = nn.Sequential(
            *([_conv(in_channels, channels, 1)] if channels != in_channels else []),
            _conv(channels, channels, kernel, stride, groups=channels),
            _SqueezeExcitation(channels, in_channels // 4),
            _conv(channels, out_channels, 1, active=False),
        )

    def branch(self, x: Tensor) -> Tensor:
        return self.block(x)


_IMAGENET = 'https://download.pytorch.org/models/efficientnet_b4_rwightman-23ab8bcd.pth'  # torchvision's
_CLASSIFIERS = {'opencd': (32, 16, 1), 'authors': (32, 16, 8, 1)}
"""Widths of the classifiers."""
_FIXED = {'in_channels': 3, 'bkbn_name': 'efficientnet_b4', 'output_layer_bkbn': '3'}


class _Mixing(nn.Module):
    """Output channel i from the neighbourhood of channel i in both dates."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._convmix = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1, groups=channels),
            nn.PReLU(),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, t1: Tensor, t2: Tensor) -> Tensor:
        return self._convmix(torch.stack([t1, t2], dim=2).flatten(1, 2))


class _MixingMask(nn.Module):
    """Mixed dates, reduced to one channel pixel by pixel: the mask of a skip connection."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self._mixing = _Mixing(widths[0])
        self._linear = _Pixelwise(*widths, 1)

    def forward(self, t1: Tensor, t2: Tensor) -> Tensor:
        return self._linear(self._mixing(t1, t2))


class _Pixelwise(nn.Module):
    """A perceptron of the given widths at every pixel, with PReLU behind each layer, unless the last is linear."""

    def __init__(self, *widths: int, linear: bool = False) -> None:
        super().__init__()
        layers = [
            nn.Sequential(nn.Conv2d(before, after, 1), nn.PReLU()) for before, after in pairwise(widths)
        ]
        if linear:
            del layers[-1][1]
        self._linears = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self._linears(x)


class _UpMask(nn.Module):
    """Enlarge to the size of a mask, multiply by it, and convolve."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self._convolution = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels),
            nn.PReLU(),
            nn.InstanceNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 1),
            nn.PReLU(),
            nn.InstanceNorm2d(out_channels),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self._convolution(F.interpolate(x, mask.shape[2:], mode='bilinear', align_corners=True) * mask)


@MODELS.register_module()
class TinyCD(BaseModule):
    """TinyCD as a backbone that returns logits, for use with :class:`IdentityHead`.

    There are two classifiers. Open-CD's has 32, 16 and 1 channels and a PReLU behind the last: 285,000 weights. The
    authors' has 32, 16, 8 and 1, and a sigmoid, which is left out here since the outputs are logits [code]. All else is
    alike, so that the weights that the authors have published fit.

    Args:
        in_channels: Channels of one date, 3.
        bkbn_name: ``'efficientnet_b4'``, the one that the decoder's widths fit.
        pretrained: Start from ImageNet weights. They are torchvision's, loaded by :meth:`init_weights` (so not before
            a training starts, nor for a test); a string is the path of their file, in place of a download.
        output_layer_bkbn: Last layer of the encoder; ``'3'``, the one that the decoder fits.
        freeze_backbone: Do not train the encoder's weights; its batch norms still follow the data.
        classifier: ``'opencd'`` or ``'authors'``.

    Shapes:
        t1, t2 (N, 3, H, W) of any size; returns a tuple of one (N, 1, H, W).

    Raises:
        UserError: for another encoder than the decoder fits, an unknown classifier, or ImageNet weights that cannot be
            loaded.

    Example:
        >>> t1, t2 = torch.rand(2, 1, 3, 32, 32)
        >>> (features,) = TinyCD(3, pretrained=False).eval()(t1, t2)
        >>> tuple(features.shape)
        (1, 1, 32, 32)
    """

    def __init__(
        self,
        in_channels: int,
        bkbn_name: str = 'efficientnet_b4',
        pretrained: bool | str = True,
        output_layer_bkbn: str = '3',
        freeze_backbone: bool = False,
        classifier: str = 'opencd',
    ) -> None:
        super().__init__()
        given = {'in_channels': in_channels, 'bkbn_name': bkbn_name, 'output_layer_bkbn': output_layer_bkbn}
        for name, value in given.items():
            if value != _FIXED[name]:
                raise UserError(
                    f'invalid {name} {value!r} of TinyCD: expected {_FIXED[name]!r}, which its decoder needs'
                )
        if classifier not in _CLASSIFIERS:
            raise UserError(
                f'invalid classifier {classifier!r} of TinyCD: expected one of {", ".join(_CLASSIFIERS)}'
            )
        self.pretrained = pretrained
        self._backbone = first_stages().requires_grad_(not freeze_backbone)
        self._first_mix = _MixingMask(3, 10, 5)
        self._mixing_mask = nn.ModuleList([_MixingMask(24, 12, 6), _MixingMask(32, 16, 8), _Mixing(56)])
        self._up = nn.ModuleList([_UpMask(56, 64), _UpMask(64, 64), _UpMask(64, 32)])
        self._classify = _Pixelwise(*_CLASSIFIERS[classifier], linear=classifier == 'authors')

    def init_weights(self) -> None:
        """Load the ImageNet weights if requested."""
        from hsonet_mm.mmengine_errors import explain_load_error  # it imports this package

        super().init_weights()
        if not self.pretrained:
            return
        source = _IMAGENET if self.pretrained is True else self.pretrained
        cure = 'as model.backbone.pretrained, or train from scratch with model.backbone.pretrained=False'
        try:
            published = CheckpointLoader.load_checkpoint(source, map_location='cpu')
        except Exception as error:
            if mistake := explain_load_error(error):
                raise UserError(f'{mistake} {cure}') from None
            raise
        weights = {key.removeprefix('features.'): weight for key, weight in published.items()}
        wanted = self._backbone.state_dict().keys()
        try:
            self._backbone.load_state_dict({key: weights[key] for key in weights.keys() & wanted})
        except RuntimeError:
            raise UserError(
                f"The weights {source} are not torchvision's of efficientnet_b4: pass the path of another file {cure}"
            ) from None

    def forward(self, t1: Tensor, t2: Tensor) -> tuple[Tensor]:
        """Logits of change at full size."""
        masks = [self._first_mix(t1, t2)]
        stem, *stages = self._backbone
        t1, t2 = stem(t1), stem(t2)
        for stage, mix in zip(stages, self._mixing_mask, strict=True):
            t1, t2 = stage(t1), stage(t2)
            masks.append(mix(t1, t2))
        x = masks.pop()  # of the deepest stage: not one channel, but all
        for up, mask in zip(self._up, reversed(masks), strict=True):
            x = up(x, mask)
        return (self._classify(x),)
