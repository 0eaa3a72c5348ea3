"""The neck that fuses the feature pyramids of two dates without weights of its own."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from hsonet_mm.models.layers import fusion
from hsonet_mm.models.necks.vfpn import POLICIES
from hsonet_mm.opencd.registry import MODELS

__all__ = ['FeatureFusionNeck']


@MODELS.register_module()
class FeatureFusionNeck(BaseModule):
    """Fuse the features of two dates level by level, as Open-CD's neck of this name.

    Checked against Open-CD 1.1.0 with ``'concat'``, in BIT and a small Siamese network: outputs and losses are equal
    for equal weights; the other policies are checked by hand-computed values.

    Args:
        policy: ``'concat'`` of the channels, ``'sum'``, ``'diff'`` (second minus first) or ``'abs_diff'``.
        in_channels: Not used, accepted for Open-CD's configs.
        channels: Not used, accepted for Open-CD's configs.
        out_indices: The levels to give on, finest first.

    Shapes:
        Two sequences of (N, C_i, H_i, W_i) in, a tuple of (N, C_i or 2 C_i, H_i, W_i) out.
    """

    def __init__(
        self,
        policy: str,
        in_channels: Sequence[int] | None = None,
        channels: int | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.policy = policy
        self.join = fusion(policy, self, POLICIES).join
        self.in_channels = in_channels
        self.channels = channels
        self.out_indices = out_indices

    def forward(self, feats_t1: Sequence[Tensor], feats_t2: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Fuse the chosen levels."""
        return tuple(self.join(feats_t1[i], feats_t2[i]) for i in self.out_indices)
