"""The network with preprocessing and calibration as one module that can be exported."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.logits import LOGIT_LIMIT

__all__ = ['PairToProbs', 'trace']

_EXAMPLE = (3, 70, 100)  # batch, height and width that nothing in a network depends on


class PairToProbs(nn.Module):
    """From the bands of both dates to calibrated probabilities, in one graph.

    Order of the channels, normalisation and padding are those of the data preprocessor in evaluation; the network sees
    the image as a whole.

    Args:
        network: A change detector of MMSegmentation or Open-CD, in evaluation mode.
        temperature: Of the calibration.

    Shapes:
        (N, 2 * bands, H, W), red, green, blue (or the bands declared) of date 1, then of date 2, values 0 to 255, any
        size, to (N, 1, H, W).

    Raises:
        UserError: for a preprocessor of another kind, or one that pads to a fixed size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature
        preprocessor = network.data_preprocessor
        if not hasattr(preprocessor, 'channel_conversion'):
            raise UserError(
                f'the data_preprocessor {type(preprocessor).__name__} cannot be exported: '
                'only DualInputSegDataPreProcessor can'
            )
        padding = dict(preprocessor.test_cfg or {})
        if padding.get('size') is not None:
            raise UserError(
                'a data_preprocessor that pads to a fixed size cannot be exported: '
                'set model.data_preprocessor.test_cfg=dict(size_divisor=32)'
            )
        self.divisor = int(padding.get('size_divisor') or 1)
        self.pad_val = float(preprocessor.pad_val)
        self.channels: int = 2 * network.backbone_inchannels
        # The preprocessor would make BGR of three bands to RGB, and RGB comes in.
        self.reverse = self.channels == 6 and not preprocessor.channel_conversion
        mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
        self.register_buffer('mean', torch.zeros(self.channels, 1, 1) if mean is None else mean.float().cpu())
        self.register_buffer('std', torch.ones(self.channels, 1, 1) if std is None else std.float().cpu())

    def forward(self, pair: Tensor) -> Tensor:
        """Probability of change."""
        height, width = pair.shape[2:]
        if self.reverse:
            pair = pair[:, [2, 1, 0, 5, 4, 3]]
        pair = (pair - self.mean) / self.std
        # As multiples of the divisor, so that the exporter can tell that every stride divides the size.
        rows, columns = ((side + self.divisor - 1) // self.divisor for side in (height, width))
        padding = (0, self.divisor * columns - width, 0, self.divisor * rows - height)
        pair = F.pad(pair, padding, value=self.pad_val)
        logits = self.network.encode_decode(pair, [{'img_shape': pair.shape[2:]}])
        # Not a slice, which would be traced together with what is true of the example's size.
        logits = F.pad(logits, tuple(-side for side in padding))
        if logits.shape[1] > 1:
            logits = logits[:, 1:2] - logits[:, :1]
        if self.temperature != 1:
            logits = logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT) / self.temperature
        return logits.sigmoid()


def trace(
    module: Any, tile_size: int | None = None, weights: dict[str, Tensor] | None = None
) -> torch.export.ExportedProgram:
    """Trace the module for any batch, and for any size or a fixed one.

    Its weights are brought into PyTorch's default order in memory; the sizes of a second input of weights do not vary.

    Raises:
        UserError: for a PyTorch that is too old.
    """
    if torch.__version__ < '2.8':  # 2.6 fails to decompose the graph
        raise UserError(f'exporting needs PyTorch 2.8 or later and finds {torch.__version__}: update it')
    batch, height, width = _EXAMPLE
    dynamic = torch.export.Dim.DYNAMIC
    dims = {0: dynamic}
    if tile_size is None:
        dims |= {2: dynamic, 3: dynamic}
    else:
        height = width = tile_size
    # torch.export.save warns of weights in another order.
    module.to(memory_format=torch.contiguous_format)
    example: tuple[Any, ...] = (torch.full((batch, module.channels, height, width), 100.0),)
    shapes: tuple[Any, ...] = (dims,)
    if weights is not None:
        example, shapes = (*example, weights), (*shapes, dict.fromkeys(weights))
    with torch.no_grad():
        return torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
