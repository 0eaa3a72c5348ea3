"""Small detectors of the stand-in for Open-CD, and labels for them."""

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from hsonet_mm.opencd import stand_in  # noqa: F401 (registers neck, preprocessor and detectors)
from hsonet_mm.opencd.registry import MODELS, SCOPE


def truth(rows: int, columns: int, value: int = 1, **meta) -> SegDataSample:
    data_sample = SegDataSample(metainfo={'ori_shape': (rows, columns), 'img_shape': (rows, columns), **meta})
    data_sample.gt_sem_seg = PixelData(data=torch.full((1, rows, columns), value))
    return data_sample


@MODELS.register_module(force=True)
class TwoDateBackbone(nn.Module):
    """Signed difference at half resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, t1, t2):
        return (self.conv(t1) - self.conv(t2),)


@MODELS.register_module(force=True)
class HalvingNeck(nn.Module):
    def forward(self, feats):
        return tuple(feat / 2 for feat in feats)


def model_config(kind: str = 'SiamEncoderDecoder', out_channels: int = 1, **kwargs) -> ConfigDict:
    siamese = kind == 'SiamEncoderDecoder'
    backbone = {
        'type': 'mmseg.ResNet',
        'depth': 18,
        'base_channels': 4,
        'stem_channels': 4,
        'num_stages': 2,
        'out_indices': (0, 1),
        'strides': (1, 2),
        'dilations': (1, 1),
        'norm_cfg': {'type': 'BN'},
    }
    loss = {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': out_channels == 1}
    head = {
        'type': 'mmseg.FCNHead',
        'in_channels': 8 if siamese else 4,
        'in_index': 0,
        'channels': 4,
        'num_convs': 1,
        'num_classes': 2,
        'out_channels': out_channels,
        'dropout_ratio': 0,
        'norm_cfg': {'type': 'BN'},
        'concat_input': False,
        'loss_decode': loss,
        'threshold': 0.5 if out_channels == 1 else None,
    }
    return ConfigDict(
        type=f'{SCOPE}.{kind}',
        data_preprocessor={'type': 'DualInputSegDataPreProcessor', 'size_divisor': 8},
        backbone=backbone if siamese else {'type': 'TwoDateBackbone'},
        **(
            {'neck': {'type': 'FeatureFusionNeck', 'policy': 'concat', 'out_indices': (0, 1)}}
            if siamese
            else {}
        ),
        decode_head=head,
        train_cfg={},
        test_cfg={'mode': 'whole'},
        **kwargs,
    )
