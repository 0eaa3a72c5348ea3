"""V-FPN, the first part of HSONet: a Siamese feature pyramid with scene embedding."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.necks import FPN
from torch import Tensor

from hsonet_mm.errors import UserError
from hsonet_mm.models.layers import fusion, split_dates
from hsonet_mm.registry import MODELS

__all__ = ['POLICIES', 'VFPN']

POLICIES = ('concat', 'sum', 'diff', 'abs_diff')
"""Fusions of a neck; names as in Open-CD's ``FeatureFusionNeck``."""


@MODELS.register_module()
class VFPN(FPN):
    r"""Siamese feature pyramid with scene embedding.

    Each date by itself, with shared weights:

    .. math:: T_5 = L_5(C_5), \quad T_k = L_k(C_k) + \mathrm{up}(T_{k+1}), \quad P_k = O_k(T_k), \quad
              g = \mathrm{GAP}(C_5)

    with 1x1 convolutions L, 3x3 convolutions O and nearest upsampling; g describes the scene around. Then the dates are
    fused level by level. That each branch is an FPN with a scene embedding is the paper's [paper]; its form is
    FarSeg's [code]. The "multi-scale" scene embedding [paper] is g and its projections, one a level, which are the
    ``scene_encoders`` of :class:`SceneAssociation`. Keys of the state dict are those of MMSegmentation's FPN, as in
    Open-CD's ``FarSegFPN``.

    The scene embedding averages over the whole input, so it depends on its size: test windows of about the size of
    the training crops see the embeddings that were trained; whole images see smoother ones.

    Args:
        in_channels: channels of the backbone's stages C2..C5.
        out_channels: width d of the pyramid.
        scene_embedding: whether g is appended to the output.
        policy: fusion of the dates: ``concat`` (what :class:`FSAssociationHead` takes apart again), ``sum``, ``diff``
            (t2 - t1) or ``abs_diff``.
        batch_dates: send both dates through the pyramid as one batch. Without batch norm in the pyramid (the default)
            the result is the same; with it, statistics are then taken over both dates together.
        detail: so many maps of :class:`DetailBranch` come first; they pass the pyramid by and are fused alike. Unless
            given, :class:`SiamEncoderDecoder` sets it to what its branch has.
        **kwargs: of MMSegmentation's FPN. ``norm_cfg`` and ``act_cfg`` put norm and activation behind every L and O,
            which ChangeStar's FarSeg has for binary targets [code] and FarSeg's own has not.

    Shapes:
        feats_t1, feats_t2: C_k of (N, in_channels[k], H_k, W_k) each. Returns a flat tuple, finest level first:
        (N, d', H_k, W_k) for every level, then (N, in_channels[-1]', 1, 1), where ' doubles for ``concat``. With
        ``detail`` both dates begin with maps of their own sizes, and so does what is returned.

    Raises:
        UserError: for an unknown policy, another number of maps, or the features of one date alone.

    References:
        HSONet, arXiv 2402.16242; FarSeg, arXiv 2011.09766; FPN, arXiv 1612.03144.

    Example:
        >>> import torch
        >>> neck = VFPN(in_channels=[8, 16, 32, 64], out_channels=8)
        >>> t1, t2 = ([torch.rand(1, 256 // side, side, side) for side in (32, 16, 8, 4)] for _ in range(2))
        >>> [list(output.shape) for output in neck(t1, t2)]  # P2 to P5 of both dates, and the scene embedding
        [[1, 16, 32, 32], [1, 16, 16, 16], [1, 16, 8, 8], [1, 16, 4, 4], [1, 128, 1, 1]]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        scene_embedding: bool = True,
        policy: str = 'concat',
        batch_dates: bool = False,
        detail: int | None = None,
        **kwargs: Any,
    ) -> None:
        join = fusion(policy, self, POLICIES).join
        kwargs.setdefault('num_outs', len(in_channels))
        super().__init__(in_channels=list(in_channels), out_channels=out_channels, **kwargs)
        self.scene_embedding = scene_embedding
        self.policy = policy
        self.join = join
        self.batch_dates = batch_dates
        self.detail = detail

    def forward(
        self, feats_t1: Sequence[Tensor], feats_t2: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        """Fuse the pyramids and scene embeddings of both dates."""
        if feats_t2 is None:
            raise UserError(
                f'{type(self).__name__} fuses the features of two dates, not one set of features: use it '
                'as the neck of SiamEncoderDecoder, not of DIEncoderDecoder or SiamEncoderMultiDecoder'
            )
        if self.batch_dates:
            both = self.embed([torch.cat(pair) for pair in zip(feats_t1, feats_t2, strict=True)])
            pairs = [split_dates(level) for level in both]
        else:
            pairs = list(zip(self.embed(feats_t1), self.embed(feats_t2), strict=True))
        return tuple(self.join(t1, t2) for t1, t2 in pairs)

    def embed(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Pyramid levels, after the detail and before the scene embedding if there are such, of one date."""
        detail = self.detail or 0
        if len(feats) != detail + len(self.in_channels):
            raise UserError(
                f'VFPN takes {detail} high-resolution maps and {len(self.in_channels)} levels, not '
                f"{len(feats)} maps: match its `detail` and `in_channels` with the model's `detail` and "
                "the backbone's out_indices"
            )
        levels = (*feats[:detail], *super().forward(tuple(feats[detail:])))
        return (*levels, F.adaptive_avg_pool2d(feats[-1], 1)) if self.scene_embedding else levels
