"""ResNet whose two dates interact after every stage."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.backbones import ResNet
from torch import Tensor, nn

from hsonet_mm.baselines import interaction  # noqa: F401 (registers the layers)
from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import MODELS

__all__ = ['IA_ResNet', 'IA_ResNetV1c']


@MODELS.register_module()
class IA_ResNet(ResNet):  # noqa: N801
    """The Siamese backbone of Changer: MMSegmentation's ResNet with an interaction layer after each stage.

    Args:
        interaction_cfg: one of :mod:`hsonet_mm.baselines.interaction` for every stage, or None for no interaction.
        **kwargs: of MMSegmentation's ``ResNet``.

    Shapes:
        Two images of (N, 3, H, W) in; for each of ``out_indices`` (N, 2 C_i, H_i, W_i) out, first date first.

    Raises:
        UserError: unless there is one interaction for each stage.

    References:
        Fang et al., *Changer: Feature Interaction is What You Need for Change Detection*, TGRS 2023,
        arXiv 2209.08290. Outputs and running statistics checked against Open-CD 1.1.
    """

    def __init__(
        self, interaction_cfg: Sequence[dict | None] = (None, None, None, None), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if len(interaction_cfg) != self.num_stages:
            raise UserError(
                f'interaction_cfg needs an entry (or None) for each of the {self.num_stages} stages, '
                f'and has {len(interaction_cfg)}'
            )
        self.ccs = nn.ModuleList(MODELS.build(cfg or dict(type='TwoIdentity')) for cfg in interaction_cfg)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, ...]:
        """Features of both dates, side by side in the channels."""
        x1, x2 = self._stem(x1), self._stem(x2)
        outs = []
        for index, (name, interact) in enumerate(zip(self.res_layers, self.ccs, strict=True)):
            stage = getattr(self, name)
            x1, x2 = interact(stage(x1), stage(x2))
            if index in self.out_indices:
                outs.append(torch.cat([x1, x2], dim=1))
        return tuple(outs)

    def _stem(self, x: Tensor) -> Tensor:
        """One date at a quarter of the resolution."""
        return self.maxpool(self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x))))


@MODELS.register_module()
class IA_ResNetV1c(IA_ResNet):  # noqa: N801
    """:class:`IA_ResNet` with three 3x3 convolutions for a stem.

    Args:
        **kwargs: of :class:`IA_ResNet`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(deep_stem=True, avg_down=False, **kwargs)
