"""A test of whether one date reveals the label: a preprocessor that shows one date to any network."""

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor

from hsonet_mm.errors import UserError
from hsonet_mm.registry import MODELS

__all__ = ['OneDatePreProcessor']


@MODELS.register_module()
class OneDatePreProcessor(BaseDataPreprocessor):
    """Show one date in place of both, and prepare the batch as ``DualInputSegDataPreProcessor`` does.

    The network then cannot compare dates. What it still detects is visible in one image: traces of the labelling, or
    objects that are always labelled as changed. Do not exchange the dates in training, because that would show the
    other one [choice: ``configs/leaderboard/one_date.yaml``].

    Args:
        date: The date that is shown, 1 or 2.
        **kwargs: Of ``DualInputSegDataPreProcessor``.

    Shapes:
        A list of (2C, H, W) in, a batch of (N, 2C, H', W') out, of which both halves are equal before normalisation.

    Raises:
        UserError: for another date.
    """

    def __init__(self, date: int = 1, **kwargs: Any) -> None:
        super().__init__()
        if date not in (1, 2):
            raise UserError(f'invalid date {date!r} of OneDatePreProcessor: expected 1 or 2')
        self.date = date
        self.pairs = MODELS.build({'type': 'opencd.DualInputSegDataPreProcessor', **kwargs})

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch of pairs."""
        shown = (pair.chunk(2)[self.date - 1] for pair in data['inputs'])
        prepared: dict[str, Any] = self.pairs(
            {**data, 'inputs': [torch.cat([image, image]) for image in shown]}, training
        )
        return prepared
