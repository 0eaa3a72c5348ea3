"""From a list of six-channel pairs to a normalised, padded batch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmseg.utils import stack_batch

from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import MODELS

__all__ = ['DualInputSegDataPreProcessor']


@MODELS.register_module()
class DualInputSegDataPreProcessor(BaseDataPreprocessor):
    """Normalise image pairs and stack them, as Open-CD's preprocessor of this name.

    In training, the pairs are padded at the right and bottom, to ``size`` or to a multiple of
    ``size_divisor``. In evaluation they are padded as ``test_cfg`` says and must be of one size (Open-CD:
    one pair a batch).

    Args:
        mean: Six channel means, in the order after the exchange of channels.
        std: Six standard deviations.
        size: Height and width to pad to; exclusive of ``size_divisor``.
        size_divisor: Number that divides height and width after padding.
        pad_val: Padding value of the images, after normalisation.
        seg_pad_val: Padding value of the labels.
        bgr_to_rgb: Whether to reverse the three channels of each date.
        rgb_to_bgr: The same, by its other name.
        batch_augments: Called with the batch and the samples in training, returns both.
        test_cfg: ``dict(size=...)`` or ``dict(size_divisor=...)`` for evaluation; no padding without it.

    Shapes:
        A list of (6, H, W) in, a batch of (N, 6, H', W') out.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        pad_val: float = 0,
        seg_pad_val: float = 255,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        batch_augments: Callable[..., Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if bgr_to_rgb and rgb_to_bgr:
            raise UserError('bgr_to_rgb and rgb_to_bgr cancel each other out: set one of them')
        if (mean is None) != (std is None):
            raise UserError('the preprocessor needs both mean and std, or neither')
        self.channel_conversion = bgr_to_rgb or rgb_to_bgr
        self.size = size
        self.size_divisor = size_divisor
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val
        self.batch_augments = batch_augments
        self.test_cfg = test_cfg
        self.mean: torch.Tensor | None
        self.std: torch.Tensor | None
        for name, values in (('mean', mean), ('std', std)):
            column = None if values is None else torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, column, persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch for the network.

        Raises:
            UserError: if the pairs of an evaluation batch differ in size, have another number of channels than the
                mean, or were not packed.
        """
        if 'inputs' not in data:
            raise UserError(
                'the pipeline of the data set packs no inputs: its last transform must be MultiImgPackSegInputs'
            )
        data = self.cast_data(data)
        pairs, samples = [self._normalise(pair) for pair in data['inputs']], data.get('data_samples')
        padding: dict[str, Any] = {'pad_val': self.pad_val, 'seg_pad_val': self.seg_pad_val}
        if training:
            batch, samples = stack_batch(pairs, samples, self.size, self.size_divisor, **padding)
            if self.batch_augments is not None:
                batch, samples = self.batch_augments(batch, samples)
            return {'inputs': batch, 'data_samples': samples}
        if len({pair.shape for pair in pairs}) > 1:
            raise UserError(
                'the pairs of an evaluation batch differ in size: set batch_size=1 in the dataloader'
            )
        if not self.test_cfg:
            return {'inputs': torch.stack(pairs), 'data_samples': samples}
        batch, metas = stack_batch(
            pairs, None, self.test_cfg.get('size'), self.test_cfg.get('size_divisor'), **padding
        )
        for sample, meta in zip(samples or [], metas, strict=False):
            sample.set_metainfo(meta)
        return {'inputs': batch, 'data_samples': samples}

    def _normalise(self, pair: torch.Tensor) -> torch.Tensor:
        """Order the channels and normalise one pair, (6, H, W)."""
        if self.channel_conversion and pair.shape[0] == 6:
            pair = pair[[2, 1, 0, 5, 4, 3]]
        pair = pair.float()
        if self.mean is None or self.std is None:
            return pair
        if {len(self.mean), len(self.std)} - {1, len(pair)}:
            raise UserError(
                f'invalid data_preprocessor with {len(self.mean)} values of mean and {len(self.std)} of std: expected '
                f'{len(pair)}, one for each channel of both dates'
            )
        return (pair - self.mean) / self.std
