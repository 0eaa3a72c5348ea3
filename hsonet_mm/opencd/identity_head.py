"""The head of detectors whose backbone ends in logits already."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from hsonet_mm.opencd.registry import MODELS

__all__ = ['IdentityHead']


@MODELS.register_module()
class IdentityHead(BaseDecodeHead):
    """Losses and prediction on the backbone's output as it is; a head without weights, as Open-CD's of this name.

    Checked against Open-CD 1.1.0 as the end of TinyCD: state-dict keys are its own, logits are equal for equal weights.

    Args:
        init_cfg: Not needed, there are no weights.
        **kwargs: Of MMSegmentation's ``BaseDecodeHead``, except ``channels``.

    Shapes:
        inputs: sequence of maps, of which ``in_index`` is (N, out_channels, H, W) and returned.
    """

    def __init__(self, init_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(channels=1, init_cfg=init_cfg, **kwargs)
        del self.conv_seg

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The chosen map."""
        return self._transform_inputs(inputs)
