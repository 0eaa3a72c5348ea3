"""Foreground-scene association: each pixel of a pyramid is weighed by its relation to the scene."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

__all__ = ['SceneAssociation']


class SceneAssociation(BaseModule):
    r"""Foreground-scene association (FS-relation) of one date.

    .. math:: s_i = W^2_i\,\mathrm{ReLU}(W^1_i g + b^1_i) + b^2_i, \quad
              r_i = \sigma\big(\langle s_i, \psi_i(P_i) \rangle / \sqrt u\big), \quad F_i = r_i\,\phi_i(P_i)

    for every pyramid level i, with content encoder :math:`\psi` and feature re-encoder :math:`\phi`, each
    ReLU(BN(conv1x1)) of u channels. That a relation to the scene reinforces the features is the paper's [paper]; the
    equations are FarSeg's [code] but for :math:`\sqrt u`. The scene g of :class:`VFPN` and its projections s_i
    (``scene_encoders``) are the "multi-scale" scene embedding [paper]. Given g it is pointwise in space.

    Without :math:`\sqrt u` the sum over u channels is so large that most relations lie near 0 or 1, where the sigmoid
    passes hardly any gradient; attention scales alike [choice]. docs/results.md has what it gains. Weights of either
    form become the other's, with equal relations, when the last layers of ``scene_encoders`` are multiplied by
    :math:`\sqrt u`, or divided.

    Args:
        in_channels: channels d of each pyramid level.
        scene_channels: channels of the scene embedding.
        channels: width u of the association, and of its output.
        scale_aware: one scene projection a level [code], or one shared by all levels.
        residual: FarSeg++'s form, conv1x1 of [F_i; P_i] instead of F_i.
        norm_cfg: normalisation of the encoders; None for none.
        scaled: whether the product is divided by :math:`\sqrt u` [choice]; FarSeg does not [code].

    Shapes:
        levels (N, d_i, H_i, W_i), scene (N, scene_channels, 1, 1) to (N, u, H_i, W_i) for each level.

    References:
        FarSeg, arXiv 2011.09766; FarSeg++, TPAMI 2023; scaled dot products: Vaswani et al., arXiv 1706.03762.

    Example:
        >>> association = SceneAssociation(in_channels=[8, 8], scene_channels=16, channels=4)
        >>> levels, scene = [torch.rand(1, 8, 32, 32), torch.rand(1, 8, 16, 16)], torch.rand(1, 16, 1, 1)
        >>> [tuple(out.shape) for out in association(levels, scene)]
        [(1, 4, 32, 32), (1, 4, 16, 16)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        scene_channels: int,
        channels: int,
        scale_aware: bool = True,
        residual: bool = False,
        norm_cfg: dict | None = None,
        scaled: bool = True,
    ) -> None:
        super().__init__()
        self.scale = channels**-0.5 if scaled else 1.0
        self.scene_encoders = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(scene_channels, channels, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 1),
            )
            for _ in (in_channels if scale_aware else in_channels[:1])
        )
        self.content_encoders = nn.ModuleList(
            ConvModule(c, channels, 1, norm_cfg=norm_cfg) for c in in_channels
        )
        self.feature_encoders = nn.ModuleList(
            ConvModule(c, channels, 1, norm_cfg=norm_cfg) for c in in_channels
        )
        self.residual_projections = (
            nn.ModuleList(nn.Conv2d(channels + c, channels, 1) for c in in_channels) if residual else None
        )

    def relations(self, levels: Sequence[Tensor], scene: Tensor) -> list[Tensor]:
        """Relation maps r_i in (0, 1), (N, 1, H_i, W_i) each: how closely a pixel is related to the scene."""
        scenes = [encode(scene) for encode in self.scene_encoders]
        scenes *= len(levels) // len(scenes)
        return [
            ((s * encode(level)).sum(dim=1, keepdim=True) * self.scale).sigmoid()
            for s, encode, level in zip(scenes, self.content_encoders, levels, strict=True)
        ]

    def forward(self, levels: Sequence[Tensor], scene: Tensor) -> list[Tensor]:
        """Weight the levels by their relation to the scene."""
        relations = self.relations(levels, scene)
        outs = [r * encode(p) for r, encode, p in zip(relations, self.feature_encoders, levels, strict=True)]
        if self.residual_projections is not None:
            projections = zip(self.residual_projections, outs, levels, strict=True)
            outs = [project(torch.cat([z, p], dim=1)) for project, z, p in projections]
        return outs
