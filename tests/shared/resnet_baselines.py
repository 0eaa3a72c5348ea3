"""BIT, ChangerEx and FarSeg by their configs, small ones, and the same parts of Open-CD."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from opencd_baselines import model_config

from hsonet_mm.baselines.changestar import ChangeStarHead
from hsonet_mm.opencd import (
    compat,
    registry,
    stand_in,  # noqa: F401 (registers detectors and preprocessor beside the real Open-CD)
)

CONFIGS = Path(__file__).parents[2] / 'configs' / 'baselines'
HEAD = {'num_classes': 2, 'loss_decode': {'type': 'mmseg.CrossEntropyLoss'}}
RESNET = {'depth': 18, 'base_channels': 8, 'stem_channels': 8, 'norm_cfg': {'type': 'BN'}}

needs_opencd = [
    pytest.mark.opencd,
    pytest.mark.skipif(not compat.OPENCD_AVAILABLE, reason='Open-CD is not in this environment'),
]


def build(name):
    return registry.MODELS.build(model_config(name))


def truth(height, width):
    data_sample = SegDataSample(metainfo={'ori_shape': (height, width), 'img_shape': (height, width)})
    data_sample.gt_sem_seg = PixelData(data=torch.zeros(1, height, width, dtype=torch.int64))
    data_sample.gt_sem_seg.data[:, 8:24, 16:40] = 1
    data_sample.gt_sem_seg.data[:, -4:] = 255
    return data_sample


def changestar(**kwargs):
    cfg = {
        'in_channels': [1, 1, 1],
        'in_index': [0, 1, 2],
        'channels': 8,
        'num_classes': 2,
        'out_channels': 1,
        'threshold': 0.5,
        'dropout_ratio': 0,
        'seg_head_cfg': {
            'type': 'FarSegHead',
            'in_channels': [4, 4, 6],
            'in_index': [0, 1, 2],
            'fsr_channels': 8,
            'channels': 8,
            'norm_cfg': {'type': 'BN'},
        },
        'changemixin_cfg': {'in_channels': 16, 'inner_channels': 8, 'num_convs': 2},
        'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True},
    }
    return ChangeStarHead(**{**cfg, **kwargs})


TINY = {
    'bit_r18': {
        'backbone.base_channels': 8,
        'backbone.stem_channels': 8,
        'decode_head.in_channels': 32,
        'decode_head.channels': 8,
        'decode_head.dec_depth': 2,
    },
    'changer_ex_r18': {
        'backbone.base_channels': 8,
        'backbone.stem_channels': 8,
        'decode_head.in_channels': [8, 16, 32, 64],
        'decode_head.channels': 16,
        'decode_head.sampler.min_kept': 64,
    },
    'farseg_r18': {
        'backbone.base_channels': 8,
        'backbone.stem_channels': 8,
        'neck.in_channels': [8, 16, 32, 64],
        'neck.out_channels': 16,
        'decode_head.seg_head_cfg.in_channels': [16, 16, 16, 16, 64],
        'decode_head.seg_head_cfg.fsr_channels': 16,
    },
}


def tiny(name, **changes):
    cfg = Config({'model': model_config(name)})
    cfg.merge_from_dict({f'model.{key}': value for key, value in {**TINY[name], **changes}.items()})
    return registry.MODELS.build(cfg.model)


def real(name):
    from opencd import registry as opencd

    kinds = (opencd.MODELS, opencd.TRANSFORMS)
    with DefaultScope.overwrite_default_scope('opencd'):
        return next(cls for kind in kinds if (cls := kind.get(name)) is not None)


def shaken(module):
    """Random norms and statistics, which are ones and zeros in a new network."""
    for key, value in module.state_dict().items():
        if key.endswith('running_var'):
            value.uniform_(0.5, 1.5)
        elif key.endswith('running_mean') or ('bn' in key and key.endswith('bias')):
            value.normal_(std=0.1)
    return module


def share_weights(theirs, ours):
    """The same weights in both, loaded strictly in either direction."""
    assert type(theirs) is not type(ours)
    theirs.load_state_dict(shaken(ours).state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)


def same(theirs, ours):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
