"""USSFC-Net, the ultralight network that the HSONet paper compares with.

T. Lei, X. Geng, H. Ning, Z. Lv, M. Gong, Y. Jin, A. K. Nandi: *Ultralightweight Spatial-Spectral Feature Cooperation
Network for Change Detection in Remote Sensing Images*, TGRS 61, 2023, doi 10.1109/TGRS.2023.3261273. Written from
the paper; checked against the authors' network (SUST-reynole/USSFC-Net on GitHub): 1,518,977 parameters with the
classifier, 3.090 GMACs for a pair of 256 x 256 pixels, and bit by bit the same output for the same weights. CMConv
stands on PSConv (D. Li et al., ECCV 2020, arXiv 2007.06191). Its layers are checked against the formulas written out:
SSFC pixel by pixel, CMConv as plain convolutions, masked weights by place and number.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hsonet_mm.baselines.sizes import check_multiple
from hsonet_mm.errors import UserError
from hsonet_mm.registry import MODELS

__all__ = ['MASKS', 'SSFC', 'CMConv', 'MSDConvSSFC', 'USSFCNet']

MASKS = ('published', 'psconv')
"""Which weights of :class:`CMConv` are masked."""

_GROUP = 4  # channels of a group, which PSConv cycles through its scales
_EPS = torch.finfo(torch.float32).eps


class SSFC(nn.Module):
    r"""Spatial-spectral feature cooperation: an attention without parameters [paper].

    .. math:: y = x\,\sigma\Big(\frac{(x - \mu)^2}{2 v + \epsilon} + \frac{1}{2}\Big)

    with mean :math:`\mu` and variance v over the pixels of one channel of one image: what stands out in its channel is
    kept, the rest is damped, at most to :math:`\sigma(1/2) \approx 0.62`. The statistics are those of the whole input,
    padding included, so that tiles and whole images differ a little.

    Shapes:
        (N, C, H, W) to the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Weigh every value by its distance from the mean of its channel."""
        distance = (x - x.mean(dim=(2, 3), keepdim=True)).square()
        variance = distance.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(distance / (2 * variance + _EPS) + 0.5)


class CMConv(nn.Module):
    """Cyclic multi-scale convolution: 3x3 kernels of three dilations, mixed in groups of four channels [paper].

    The sum of a grouped convolution with some weights masked (``near``), a depthwise one with dilation d
    (``middle``), and a depthwise one with dilation 2 d (``far``) that reads the channel two further in its group.

    In PSConv the mask makes each pair of an output and an input channel of a group have one scale: ``near`` keeps the
    neighbours in the cycle, output o and input o + 1 or o + 3, for o and o + 2 belong to the dilated kernels.
    Its published code for groups, which USSFC-Net took over, multiplies the number of the group by the number of
    groups n / 4 instead of by their size 4. With n a multiple of 16, groups 0, n/16, 2n/16 and 3n/16 are then masked
    rightly and no other: the further indices lie outside of the tensor. Every other group has a full ``near`` beside
    the dilated kernels. In USSFC-Net 6,912 of the 43,200 weights are masked that PSConv means; with 16 channels both
    are the same.

    Args:
        channels: channels n of input and output, a multiple of 4.
        dilation: d.
        mask: ``'published'`` [code], or ``'psconv'`` as PSConv means it. Masked weights stay in the state dict and
            have neither effect nor gradient.

    Shapes:
        (N, n, H, W) to the same.

    Raises:
        UserError: for an unknown mask or a number of channels that groups of four do not divide.
    """

    keep: Tensor

    def __init__(self, channels: int, dilation: int = 3, mask: str = 'published') -> None:
        super().__init__()
        if mask not in MASKS:
            raise UserError(f'invalid mask {mask!r} of USSFCNet: expected one of {", ".join(MASKS)}')
        if channels % _GROUP:
            raise UserError(f'invalid channels {channels} of CMConv: expected a multiple of 4')
        self.near = nn.Conv2d(channels, channels, 3, padding=1, groups=channels // _GROUP, bias=False)
        self.middle = _depthwise(channels, dilation)
        self.far = _depthwise(channels, 2 * dilation)
        self.register_buffer('keep', _kept_weights(channels, mask), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Sum of the three scales."""
        near = F.conv2d(x, self.near.weight * self.keep, padding=1, groups=self.near.groups)
        return near + self.middle(x) + self.far(swap_halves(x))


def swap_halves(x: Tensor) -> Tensor:
    """Channels 0 1 2 3 of every group of four as 2 3 0 1; (N, C, H, W) to the same."""
    return x.unflatten(1, (-1, 2, _GROUP // 2)).flip(2).flatten(1, 3)


def _depthwise(channels: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False)


def _kept_weights(channels: int, mask: str) -> Tensor:
    """1 where a weight of ``near`` takes effect, 0 where it is masked: (channels, 4, 1, 1)."""
    groups = channels // _GROUP
    step = _GROUP if mask == 'psconv' else groups
    place = torch.arange(_GROUP)
    neighbours = (place[:, None] - place) % 2  # in the cycle; 0 for the same and the opposite place
    keep = torch.ones(channels, _GROUP)
    for first in range(0, channels, step)[:groups]:
        keep[first : first + _GROUP] *= neighbours
    return keep[:, :, None, None]


class MSDConvSSFC(nn.Module):
    """Multi-scale decoupled convolution with SSFC: half of the output by 1x1, the other half from that half [paper].

    ``native`` = ReLU(BN(conv1x1)), ``auxiliary`` = SSFC(ReLU(BN(CMConv(native)))), one after the other in the output.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of 8.
        dilation: of :class:`CMConv`.
        mask: of :class:`CMConv`.

    Shapes:
        (N, in_channels, H, W) to (N, out_channels, H, W).
    """

    def __init__(
        self, in_channels: int, out_channels: int, dilation: int = 3, mask: str = 'published'
    ) -> None:
        super().__init__()
        half = out_channels // 2
        self.native = nn.Sequential(
            nn.Conv2d(in_channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True)
        )
        self.auxiliary = nn.Sequential(
            CMConv(half, dilation, mask), nn.BatchNorm2d(half), nn.ReLU(inplace=True), SSFC()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Both halves of the output."""
        native = self.native(x)
        return torch.cat([native, self.auxiliary(native)], dim=1)


@MODELS.register_module()
class USSFCNet(BaseModule):
    r"""USSFC-Net without its classifier, as the backbone of Open-CD's ``DIEncoderDecoder`` [paper].

    A U-Net with one encoder *for each date*, without shared weights; skips are the distances :math:`|C_k^1 - C_k^2|`
    at all five levels. The first level has plain 3x3 convolutions, the others and the decoder :class:`MSDConvSSFC`;
    levels are 2x2 max-pooling apart, and 2x2 transposed convolutions on the way back. The 1x1 convolution that
    follows is the ``conv_seg`` of a head without layers of its own::

        decode_head = dict(type='mmseg.FCNHead', num_convs=0, concat_input=False, in_channels=32, channels=32, ...)

    The authors' weights start as PyTorch's layers do, and so do these.

    Args:
        in_channels: channels of one date.
        base_channels: width of the first level, a multiple of 8; each further level doubles it.
        dilation: of the multi-scale convolutions.
        mask: ``'published'``, or ``'psconv'`` without the error in the published code; see
            :class:`~hsonet_mm.baselines.CMConv`.
        init_cfg: initialisation of MMEngine.

    Shapes:
        t1, t2: (N, in_channels, H, W) each, H and W multiples of 16. Returns a tuple of (N, base_channels, H, W).

    Raises:
        UserError: for an unknown mask, or a width or size of the image that does not fit.

    Example:
        >>> t1, t2 = torch.rand(2, 1, 3, 32, 32)
        >>> (features,) = USSFCNet(base_channels=8).eval()(t1, t2)
        >>> tuple(features.shape)
        (1, 8, 32, 32)
    """

    def __init__(
        self,
        in_channels: int = 3,
        base_channels: int = 32,
        dilation: int = 3,
        mask: str = 'published',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if base_channels % 8:
            raise UserError(f'invalid base_channels {base_channels} of USSFCNet: expected a multiple of 8')
        widths = [base_channels * 2**level for level in range(5)]
        layer = partial(MSDConvSSFC, dilation=dilation, mask=mask)
        plain = partial(nn.Conv2d, kernel_size=3, padding=1)

        def encoder() -> nn.ModuleList:
            deeper = (_twice(layer, *pair) for pair in pairwise(widths))
            return nn.ModuleList([_twice(plain, in_channels, base_channels), *deeper])

        self.encoder_t1 = encoder()
        self.encoder_t2 = encoder()
        narrower = widths[-2::-1]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in narrower)
        self.decoder = nn.ModuleList(_twice(layer, 2 * width, width) for width in narrower)
        self.pool = nn.MaxPool2d(2)

    def forward(self, t1: Tensor, t2: Tensor) -> tuple[Tensor]:
        """The last map of the decoder."""
        check_multiple('USSFCNet', t1, 16)
        levels = zip(self._encode(self.encoder_t1, t1), self._encode(self.encoder_t2, t2), strict=True)
        skips = [(c1 - c2).abs() for c1, c2 in levels]  # N, base_channels 2^k, H / 2^k, W / 2^k
        x = skips.pop()
        for up, block in zip(self.ups, self.decoder, strict=True):
            x = block(torch.cat([skips.pop(), up(x)], dim=1))
        return (x,)

    def _encode(self, encoder: nn.ModuleList, x: Tensor) -> list[Tensor]:
        """The five levels of one date, finest first."""
        levels: list[Tensor] = []
        for block in encoder:
            x = block(self.pool(x) if levels else x)
            levels.append(x)
        return levels


def _twice(layer: Callable[[int, int], nn.Module], in_channels: int, out_channels: int) -> nn.Sequential:
    """Layer, batch norm and ReLU, two times."""
    return nn.Sequential(
        layer(in_channels, out_channels),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        layer(out_channels, out_channels),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
