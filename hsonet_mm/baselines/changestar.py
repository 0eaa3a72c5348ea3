"""ChangeStar with FarSeg: a segmentation network on each date, and a change classifier in both orders of the dates."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.models.layers import PyramidDecoder, SceneAssociation
from hsonet_mm.opencd.registry import MODELS

__all__ = ['ChangeStarHead', 'FarSegHead']


_NAMES = (
    ('association.scene_encoders', '_fsr.scene_encoder'),
    ('association.content_encoders.{}', '_fsr.content_encoders.{}.0'),
    ('association.feature_encoders.{}', '_fsr.feature_reencoders.{}.0'),
    ('decoder.levels.{}.{}', '_decoder.blocks.{}.{}.0'),
)
"""Names of the weights in a state dict: here, and in Open-CD."""


def _rename(state: dict[str, Any], prefix: str, names: Iterable[tuple[str, str]]) -> None:
    """Rename the entries of a state dict below a prefix, in place and in their order."""
    for key in [key for key in state if key.startswith(prefix)]:
        name = key.removeprefix(prefix)
        for old, new in names:
            if match := re.match(re.escape(f'{old}.').replace(r'\{\}', r'(\d+)'), name):
                name = f'{new.format(*match.groups())}.{name[match.end() :]}'
        state[prefix + name] = state.pop(key)


def _save_as_opencd(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    _rename(state, prefix, _NAMES)


def _load_from_opencd(state: dict[str, Any], prefix: str, *_: Any) -> None:
    _rename(state, prefix, [(theirs, ours) for ours, theirs in _NAMES])


@MODELS.register_module()
class FarSegHead(BaseDecodeHead):
    """Foreground-scene relation and light-weight decoder of FarSeg, for one image or one date.

    They are those of HSONet; keys of the state dict are Open-CD's.

    Args:
        fsr_channels: width of the relation.
        **kwargs: of MMSegmentation's ``BaseDecodeHead``; ``in_channels`` are those of the pyramid levels, finest first,
            then of the scene embedding.

    Shapes:
        inputs: (N, in_channels[i], H_i, W_i), finest first, then the scene (N, in_channels[-1], 1, 1). Returns logits
        (N, out_channels, H_0 - 2, W_0 - 2): the classifier is a 3x3 convolution without padding, as in Open-CD.

    Raises:
        UserError: without a pyramid level and a scene embedding.

    References:
        Zheng et al., *Foreground-Aware Relation Network*, CVPR 2020, arXiv 2011.09766. Outputs checked against
        Open-CD 1.1, whose decoder takes synchronised batch norm whatever ``norm_cfg`` says, and only levels each half
        as large as the one before; this one obeys ``norm_cfg`` (batch norm if there is none) and takes any sizes.
    """

    def __init__(self, fsr_channels: int, **kwargs: Any) -> None:
        if len(kwargs['in_channels']) < 2:
            raise UserError(
                f'invalid in_channels {kwargs["in_channels"]} of FarSegHead: expected those of the '
                'pyramid levels and then of the scene embedding'
            )
        super().__init__(input_transform='multiple_select', **kwargs)
        *levels, scene = self.in_channels
        self.association = SceneAssociation(levels, scene, fsr_channels, norm_cfg=self.norm_cfg, scaled=False)
        self.decoder = PyramidDecoder(
            [fsr_channels] * len(levels), self.channels, self.norm_cfg or dict(type='BN'), align_corners=True
        )
        self.conv_seg = nn.Conv2d(self.channels, self.out_channels, kernel_size=3)
        self._register_state_dict_hook(_save_as_opencd)
        self._register_load_state_dict_pre_hook(_load_from_opencd)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits from a pyramid and its scene embedding."""
        *levels, scene = self._transform_inputs(inputs)
        return self.cls_seg(self.decoder(self.association(levels, scene)))


_ORDERS = ('t1t2', 't2t1')
_INFERENCE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    't1t2': lambda t1t2, _: t1t2,
    't2t1': lambda _, t2t1: t2t1,
    'mean': lambda t1t2, t2t1: (t1t2 + t2t1) / 2,
}


_CHANGE_MIXIN = {'in_channels': 256, 'inner_channels': 16, 'num_convs': 4}
"""The defaults of ``changemixin_cfg``."""


def _change_mixin(in_channels: int, inner_channels: int, num_convs: int) -> nn.Sequential:
    """ChangeMixin without its classifier: blocks of 3x3 convolution, batch norm and ReLU on both dates together."""
    widths = [in_channels, *[inner_channels] * num_convs]
    blocks = (
        nn.Sequential(
            nn.Conv2d(width, inner_channels, 3, padding=1),
            nn.BatchNorm2d(inner_channels),
            nn.ReLU(inplace=True),
        )
        for width in widths[:-1]
    )
    return nn.Sequential(OrderedDict(convs=nn.Sequential(*blocks)))


@MODELS.register_module()
class ChangeStarHead(BaseDecodeHead):
    """Any segmentation head on each date with shared weights, then ChangeMixin.

    The classifier sees the dates in both orders; the losses of both are added up, and `inference_mode` says which one
    is the prediction.

    Args:
        inference_mode: ``'t1t2'``, ``'t2t1'`` or the ``'mean'`` of both logits.
        seg_head_cfg: a segmentation head; its classifier is taken off. Its ``in_channels`` are those of *one* date.
        changemixin_cfg: ``in_channels`` (twice the channels of the segmentation head), ``inner_channels`` and
            ``num_convs`` of ChangeMixin.
        **kwargs: of MMSegmentation's ``BaseDecodeHead``; ``in_channels`` are not used, if only there are as many as
            in ``in_index``; ``channels`` are the ``inner_channels``.

    Shapes:
        inputs: (N, 2 C_i, H_i, W_i), the dates side by side. Returns two logits (N, out_channels, H_0, W_0).

    Raises:
        UserError: for an unknown inference mode, or channels that do not fit together.

    References:
        Zheng et al., *Change is Everywhere*, ICCV 2021, arXiv 2108.07002 (supervised with bitemporal labels). Outputs
        and losses checked against Open-CD 1.1.
    """

    def __init__(
        self, inference_mode: str = 't1t2', *, seg_head_cfg: dict, changemixin_cfg: dict, **kwargs: Any
    ) -> None:
        if inference_mode not in _INFERENCE:
            raise UserError(
                f'invalid inference_mode {inference_mode!r} of ChangeStarHead: expected one of '
                f'{", ".join(_INFERENCE)}'
            )
        super().__init__(input_transform='multiple_select', **kwargs)
        self.inference_mode = inference_mode
        # Classifier and loss of the segmentation head are not used, but MMSegmentation's heads want them.
        unused = dict(num_classes=2, out_channels=1, threshold=0.5, dropout_ratio=0.0)
        loss = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, loss_weight=0.0)
        self.seg_head = MODELS.build({**seg_head_cfg, **unused, 'loss_decode': loss})
        self.seg_head.conv_seg = nn.Identity()
        mixin = _CHANGE_MIXIN | changemixin_cfg
        if mixin['in_channels'] != 2 * self.seg_head.channels:
            raise UserError(
                f'invalid in_channels {mixin["in_channels"]} of changemixin_cfg: expected '
                f'{2 * self.seg_head.channels}, twice the channels of seg_head_cfg'
            )
        if mixin['inner_channels'] != self.channels:
            raise UserError(
                f'invalid inner_channels {mixin["inner_channels"]} of changemixin_cfg: expected '
                f'{self.channels}, the channels of ChangeStarHead'
            )
        self.changemixin = _change_mixin(**mixin)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits of change, with the first date first and with the second date first."""
        pairs = [x.chunk(2, dim=1) for x in self._transform_inputs(inputs)]
        t1, t2 = (self.seg_head(date) for date in zip(*pairs, strict=True))
        return self._classify(t1, t2), self._classify(t2, t1)

    def _classify(self, first: Tensor, second: Tensor) -> Tensor:
        return self.cls_seg(self.changemixin(torch.cat([first, second], dim=1)))

    def loss_by_feat(self, seg_logits: Sequence[Tensor], batch_data_samples: list) -> dict[str, Tensor]:
        """Losses of both orders, named as ``t1t2.loss_ce``."""
        losses = {}
        for order, logits in zip(_ORDERS, seg_logits, strict=True):
            terms = super().loss_by_feat(logits, batch_data_samples)
            losses.update({f'{order}.{name}': value for name, value in terms.items()})
        return losses

    def predict_by_feat(self, seg_logits: Sequence[Tensor], batch_img_metas: list[dict]) -> Tensor:
        """Logits of the chosen order at the size of the images."""
        return super().predict_by_feat(_INFERENCE[self.inference_mode](*seg_logits), batch_img_metas)
