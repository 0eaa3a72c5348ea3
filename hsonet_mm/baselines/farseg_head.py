"""The head of FarSeg: foreground-scene relation and light-weight decoder of one image."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import MODELS

__all__ = ['FarSegHead']


class _SceneRelation(nn.Module):
    """Foreground-scene relation; the equations are those of :class:`hsonet_mm.models.layers.SceneAssociation`.

    Args:
        in_channels: channels of each pyramid level.
        scene_channels: channels of the scene embedding.
        channels: width u of the relation.
        norm_cfg: normalisation of the encoders.

    Shapes:
        levels (N, in_channels[i], H_i, W_i), scene (N, scene_channels, 1, 1) to (N, u, H_i, W_i) for each level.
    """

    def __init__(
        self, in_channels: Sequence[int], scene_channels: int, channels: int, norm_cfg: dict | None
    ) -> None:
        super().__init__()
        self.scene_encoder = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(scene_channels, channels, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 1),
            )
            for _ in in_channels
        )
        self.content_encoders, self.feature_reencoders = (
            nn.ModuleList(nn.Sequential(ConvModule(c, channels, 1, norm_cfg=norm_cfg)) for c in in_channels)
            for _ in range(2)
        )

    def forward(self, levels: Sequence[Tensor], scene: Tensor) -> list[Tensor]:
        """Reinforce the levels by their relation to the scene."""
        encoders = zip(self.scene_encoder, self.content_encoders, self.feature_reencoders, strict=True)
        return [
            (of_scene(scene) * content(level)).sum(dim=1, keepdim=True).sigmoid() * feature(level)
            for level, (of_scene, content, feature) in zip(levels, encoders, strict=True)
        ]


class _PyramidDecoder(nn.Module):
    """Mean of the levels, each convolved and enlarged by two until it is as large as the finest.

    Args:
        num_levels: levels, each half as large as the one before.
        in_channels: channels of each.
        channels: channels of the output.
        norm_cfg: normalisation of the blocks.

    Shapes:
        (N, in_channels, H / 2^k, W / 2^k) for each level k to (N, channels, H, W).
    """

    def __init__(self, num_levels: int, in_channels: int, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(
                    nn.Sequential(
                        ConvModule(
                            in_channels if step == 0 else channels, channels, 3, padding=1, norm_cfg=norm_cfg
                        ),
                        nn.UpsamplingBilinear2d(scale_factor=2) if k > 0 else nn.Identity(),
                    )
                    for step in range(max(1, k))
                )
            )
            for k in range(num_levels)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Decode a pyramid, finest level first."""
        decoded = [block(x) for block, x in zip(self.blocks, levels, strict=True)]
        if len({x.shape[2:] for x in decoded}) > 1:
            sizes = ', '.join(f'{x.shape[2]} x {x.shape[3]}' for x in levels)
            raise UserError(
                f'FarSegHead takes levels each half as large as the one before, and got {sizes}: pad the images to '
                'multiples of 32 by size_divisor=32 in the data preprocessor, also in its test_cfg; a sliding window '
                'needs such a crop_size (--crop)'
            )
        return torch.stack(decoded).mean(dim=0)


@MODELS.register_module()
class FarSegHead(BaseDecodeHead):
    """Foreground-scene relation and light-weight decoder of FarSeg, for one image or one date.

    Args:
        fsr_channels: width of the relation.
        **kwargs: of MMSegmentation's ``BaseDecodeHead``; ``in_channels`` are those of the pyramid levels, finest first,
            then of the scene embedding.

    Shapes:
        inputs: (N, in_channels[i], H / 2^i, W / 2^i), then the scene (N, in_channels[-1], 1, 1). Returns logits
        (N, out_channels, H - 2, W - 2): the classifier is a 3x3 convolution without padding, as in Open-CD.

    Raises:
        UserError: without a pyramid level and a scene embedding, or for levels that are not half as large each time.

    References:
        Zheng et al., *Foreground-Aware Relation Network*, CVPR 2020, arXiv 2011.09766. Outputs checked against
        Open-CD 1.1, whose decoder takes synchronised batch norm whatever ``norm_cfg`` says; this one obeys it.
    """

    def __init__(self, fsr_channels: int, **kwargs: Any) -> None:
        if len(kwargs['in_channels']) < 2:
            raise UserError(
                'in_channels of FarSegHead must name pyramid levels and then the scene embedding, not '
                f'{kwargs["in_channels"]}'
            )
        super().__init__(input_transform='multiple_select', **kwargs)
        *levels, scene = self.in_channels
        self._fsr = _SceneRelation(levels, scene, fsr_channels, self.norm_cfg)
        self._decoder = _PyramidDecoder(
            len(levels), fsr_channels, self.channels, self.norm_cfg or dict(type='BN')
        )
        self.conv_seg = nn.Conv2d(self.channels, self.out_channels, kernel_size=3)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits from a pyramid and its scene embedding."""
        *levels, scene = self._transform_inputs(inputs)
        return self.cls_seg(self._decoder(self._fsr(levels, scene)))
