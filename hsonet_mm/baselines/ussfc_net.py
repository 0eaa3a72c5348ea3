"""USSFC-Net, the ultralight network that the HSONet paper compares with.

T. Lei, X. Geng, H. Ning, Z. Lv, M. Gong, Y. Jin, A. K. Nandi: *Ultralightweight Spatial-Spectral Feature Cooperation
Network for Change Detection in Remote Sensing Images*, TGRS 61, 2023, doi 10.1109/TGRS.2023.3261273. Written from
the paper; checked against the authors' network (SUST-reynole/USSFC-Net on GitHub): 1,518,977 parameters with the
classifier, 3.090 GMACs for a pair of 256 x 256 pixels, and bit by bit the same output for the same weights.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from hsonet_mm.baselines.ussfc_layers import MSDConvSSFC
from hsonet_mm.errors import UserError
from hsonet_mm.registry import MODELS
from hsonet_mm.sizes import check_multiple

__all__ = ['USSFCNet']


@MODELS.register_module()
class USSFCNet(BaseModule):
    r"""All of USSFC-Net but its classifier, as the backbone of Open-CD's ``DIEncoderDecoder`` [paper].

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
        mask: ``'published'``, or ``'psconv'`` without the slip in its code; see
            :class:`~hsonet_mm.models.layers.CMConv`.
        init_cfg: initialisation of MMEngine.

    Shapes:
        t1, t2: (N, in_channels, H, W) each, H and W multiples of 16. Returns a tuple of (N, base_channels, H, W).

    Raises:
        UserError: for an unknown mask, a width or a size of the image that do not fit.
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
            raise UserError(f'USSFCNet cannot be {base_channels} channels wide: choose a multiple of 8')
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
