"""The foreground-scene association head, the second part of HSONet."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.models.decode_heads.change_head import ChangeHead
from hsonet_mm.models.layers import DetailDecoder, PyramidDecoder, SceneAssociation, split_dates
from hsonet_mm.models.layers.fusion import fusion as choose_fusion
from hsonet_mm.registry import MODELS

__all__ = ['FSAssociationHead']

HEAD_FUSIONS = ('abs_diff', 'concat', 'both')


@MODELS.register_module()
class FSAssociationHead(ChangeHead):
    r"""Association, light-weight decoder and change classifier of HSONet.

    Each date, with shared weights: :math:`D = \mathrm{decode}(\mathrm{associate}(P_2..P_5, g))`; then the classifier
    on the fused dates, :math:`q = |D_1 - D_2|` by default. Association and a light-weight dual-branch decoder are the
    paper's [paper], their form is FarSeg's [code], fusion and classifier are ours [choice].

    With ``detail`` the maps of :class:`DetailBranch` are fused alike, and a :class:`DetailDecoder` refines the fused
    dates by them before they are classified [choice].

    With ``abs_diff`` and ``both`` the head does not know the order of the dates; with ``abs_diff`` two equal images
    give a constant map (with ``detail`` but for its outermost pixels). Both dates go through the head as one batch, so
    that its batch norms see both dates together.

    Args:
        in_channels: channels *per date* of the maps of detail, of the pyramid levels, both finest first, and of the
            scene embedding. The inputs have twice as many: :class:`VFPN` with ``policy='concat'``. Without association
            the scene may be left out.
        channels: channels of the decoder.
        association_channels: width u of the association.
        association: switch of the association (ablation).
        scale_aware: one scene projection a level, or a shared one.
        residual: FarSeg++'s residual form of the association.
        scaled: relations by scaled dot products, or FarSeg's, see :class:`SceneAssociation`.
        fusion: ``abs_diff`` (|D1 - D2|), ``concat`` or ``both`` ([|D1 - D2|; D1 + D2]).
        num_levels: levels of the pyramid.
        detail: so many maps of :class:`DetailBranch` come first; unless given, as many as ``in_channels`` names before
            the levels and the scene, which it then must name.
        **kwargs: of :class:`ChangeHead`; set ``out_channels=1`` and ``threshold`` for the one-logit form of HSONet.
            ``loss_decode`` is EO-loss unless given.

    Shapes:
        inputs: flat tuple of (N, 2 in_channels[i], H_i, W_i), scene (N, 2 in_channels[-1], 1, 1). Returns logits
        (N, out_channels, H_0, W_0) at the size of the first input.

    Raises:
        UserError: for an unknown fusion, too few inputs, or inputs that do not hold both dates.

    References:
        HSONet, arXiv 2402.16242; FarSeg, arXiv 2011.09766.

    Example:
        >>> import torch
        >>> head = FSAssociationHead(
        ...     in_channels=[8, 8, 8, 8, 64], channels=8, num_classes=2, out_channels=1, threshold=0.5
        ... )
        >>> levels = [torch.rand(1, 2 * 8, side, side) for side in (32, 16, 8, 4)]  # both dates, from VFPN
        >>> scene = torch.rand(1, 2 * 64, 1, 1)
        >>> head([*levels, scene]).shape
        torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 128,
        association_channels: int = 256,
        association: bool = True,
        scale_aware: bool = True,
        residual: bool = False,
        scaled: bool = True,
        fusion: str = 'abs_diff',
        num_levels: int = 4,
        detail: int | None = None,
        **kwargs: Any,
    ) -> None:
        if detail is None:
            detail = max(len(in_channels) - num_levels - 1, 0)
        levels = list(in_channels[detail:])
        if len(levels) != num_levels + 1 and (association or len(levels) != num_levels):
            raise UserError(
                f'invalid in_channels {list(in_channels)}: expected {detail} high-resolution maps, '
                f'{num_levels} pyramid levels and the scene embedding'
            )
        kwargs.setdefault('in_index', list(range(len(in_channels))))
        kwargs.setdefault('loss_decode', dict(type='hsonet_mm.EOLoss'))
        super().__init__(
            in_channels=list(in_channels), channels=channels, input_transform='multiple_select', **kwargs
        )
        levels, scene = levels[:num_levels], levels[-1]
        norm_cfg = self.norm_cfg or dict(type='BN')
        factor, self.fuse = choose_fusion(fusion, self, HEAD_FUSIONS)
        self.association = None
        if association:
            self.association = SceneAssociation(
                levels, scene, association_channels, scale_aware, residual, norm_cfg, scaled
            )
            levels = [association_channels] * num_levels
        self.num_levels = num_levels
        self.decoder = PyramidDecoder(levels, channels, norm_cfg, self.align_corners)
        self.detail, width, self.refinement = detail, factor * channels, None
        if detail:
            fused = [factor * c for c in in_channels[:detail]]
            self.refinement = DetailDecoder(fused, width, channels, norm_cfg, self.align_corners)
            width = fused[0]
        self.conv_seg = nn.Conv2d(width, self.out_channels, kernel_size=1)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of change from the fused pyramids and scene embeddings of both dates."""
        if len(inputs) <= max(self.in_index):
            raise UserError(
                f'FSAssociationHead needs inputs 0 to {max(self.in_index)}, not {len(inputs)} inputs: '
                'correct its in_index and in_channels, or use a neck that returns the scene embedding '
                'after the pyramid, such as VFPN'
            )
        levels = [
            self._dates_as_batch(x, c, i)
            for i, (x, c) in enumerate(zip(self._transform_inputs(inputs), self.in_channels, strict=True))
        ]
        detail, levels = levels[: self.detail], levels[self.detail :]
        scene = levels.pop() if len(levels) > self.num_levels else None
        if self.association is not None:
            levels = self.association(levels, scene)
        fused = self.fuse(*split_dates(self.decoder(levels)))
        if self.refinement is not None:
            fused = self.refinement([self.fuse(*split_dates(x)) for x in detail], fused)
        return self.cls_seg(fused)

    @staticmethod
    def _dates_as_batch(x: Tensor, channels: int, number: int) -> Tensor:
        """(N, 2 C, H, W) with the dates side by side to (2 N, C, H, W) with the dates one after the other."""
        if x.shape[1] != 2 * channels:
            raise UserError(
                f'FSAssociationHead needs both dates, 2 x {channels} channels in input {number}, not '
                f'{x.shape[1]}: correct its in_channels, or use a neck that keeps the dates apart, such '
                "as VFPN(policy='concat')"
            )
        return torch.cat(x.chunk(2, dim=1))
