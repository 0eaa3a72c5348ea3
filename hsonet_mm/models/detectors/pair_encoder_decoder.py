"""An encoder-decoder for image pairs, on top of MMSegmentation's segmentor."""

from fractions import Fraction
from typing import Any

import torch.nn.functional as F
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from hsonet_mm.bands import adapt_first_conv
from hsonet_mm.errors import UserError
from hsonet_mm.windows import starts

__all__ = ['PairEncoderDecoder']


class PairEncoderDecoder(EncoderDecoder):
    """An encoder-decoder whose input contains both dates in its channels.

    Args:
        *args: The arguments of :class:`mmseg.models.EncoderDecoder`.
        backbone_inchannels: Channels of one date.
        input_scale: Factor that enlarges every image, or window, before the network in evaluation and in exported
            models, rounded to a fraction of at most sixteenths: objects of a few pixels need more pixels than the
            strides of a network leave them [choice].
        **kwargs: More of them.

    Raises:
        UserError: for an `input_scale` that is not positive, or rounds to 0.

    Shapes:
        (N, 2 * backbone_inchannels, H, W) in; logits of (N, out_channels, H, W) out of :meth:`encode_decode`.
    """

    def __init__(
        self, *args: Any, backbone_inchannels: int = 3, input_scale: float = 1, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.backbone_inchannels = backbone_inchannels
        adapt_first_conv(self.backbone, backbone_inchannels)
        self.input_scale = Fraction(input_scale).limit_denominator(16)
        if not self.input_scale > 0:
            raise UserError(
                f'invalid model.input_scale {input_scale}: expected a factor of at least 1/16, such as 1.5'
            )

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Logits (N, out_channels, H, W) of a batch (N, C, H, W), in float32 also under autocast.

        In bfloat16 the sigmoid of a logit above 5.5 would be 1.
        """
        metas = [{**meta, 'img_shape': inputs.shape[2:]} for meta in batch_img_metas]
        return super().encode_decode(self._enlarged(inputs), metas).float()

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        """Logits as the head gives them, without interpolation; what the network costs is counted of this."""
        return super()._forward(self._enlarged(inputs), data_samples)

    def _enlarged(self, inputs: Tensor) -> Tensor:
        scale = self.input_scale
        if scale == 1:
            return inputs
        size = [side * scale.numerator // scale.denominator for side in inputs.shape[2:]]
        return F.interpolate(inputs, size=size, mode='bilinear')

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Average the logits of overlapping windows.

        Beside the image it needs the memory of the logits, their counts and one window; the last windows
        are moved inwards, and an image smaller than a window is one window.

        Raises:
            UserError: without a size and a stride of the windows, or for a stride that leaves gaps between them.
        """
        if missing := sorted({'crop_size', 'stride'} - self.test_cfg.keys()):
            raise UserError(
                f"model.test_cfg with mode='slide' lacks {' and '.join(missing)}: add such a pair, as "
                '(256, 256)'
            )
        (crop_h, crop_w), (stride_h, stride_w) = self.test_cfg['crop_size'], self.test_cfg['stride']
        if stride_h > crop_h or stride_w > crop_w:
            raise UserError(
                f'invalid stride {stride_h} x {stride_w} for windows of {crop_h} x {crop_w} pixels: '
                'expected at most the crop_size in model.test_cfg'
            )
        n, _, h, w = inputs.shape
        logits = inputs.new_zeros(n, self.out_channels, h, w)
        counts = inputs.new_zeros(h, w)
        for top in starts(h, crop_h, stride_h):
            for left in starts(w, crop_w, stride_w):
                rows, columns = slice(top, top + crop_h), slice(left, left + crop_w)
                window = inputs[..., rows, columns]
                logits[..., rows, columns] += self.encode_decode(window, batch_img_metas)
                counts[rows, columns] += 1
        return logits.div_(counts)
