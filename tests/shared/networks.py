"""Tiny parts of HSONet, random maps for them, and what their tests check by hand."""

import math

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from hsonet_mm.models import FSAssociationHead

STAGES = [8, 16, 32, 64]
SIZES = [(64, 64), (45, 71)]
BN = {'type': 'BN', 'requires_grad': True}
DETAIL = [6, 4, 10]
ONE_LOGIT = {
    'dropout_ratio': 0.0,
    'num_classes': 2,
    'out_channels': 1,
    'threshold': 0.5,
    'norm_cfg': BN,
    'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True},
}


def pyramid(channels, size=(64, 64), n=2):
    """Random maps with strides 4, 8, 16, 32."""
    strides = (4, 8, 16, 32)
    return [
        torch.randn(n, c, *(math.ceil(side / s) for side in size))
        for c, s in zip(channels, strides, strict=True)
    ]


def head(**kwargs):
    """A one-logit head: four levels of 8 channels and a scene of 12."""
    settings = {
        'in_channels': [8, 8, 8, 8, 12],
        'channels': 4,
        'association_channels': 6,
        **ONE_LOGIT,
    }
    return unlike_new(FSAssociationHead(**{**settings, **kwargs}))


def dates(size=(64, 64), n=2):
    """What the head takes of one date."""
    return [*pyramid([8] * 4, size, n), torch.randn(n, 12, 1, 1)]


def together(t1, t2):
    return tuple(torch.cat(pair, dim=1) for pair in zip(t1, t2, strict=True))


def unlike_new(network):
    """Batch norms as after a training, so that they and a slip in them show; evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


def encode(block, x):
    """ReLU(BN(conv(x))), written out."""
    x = F.conv2d(x, block.conv.weight, padding=block.conv.padding)
    mean, var = (v[None, :, None, None] for v in (block.bn.running_mean, block.bn.running_var))
    gamma, beta = (v[None, :, None, None] for v in (block.bn.weight, block.bn.bias))
    return ((x - mean) / (var + block.bn.eps).sqrt() * gamma + beta).clamp_min(0)


def without_gradient(network):
    return [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]


def detail_maps(size=(64, 64), n=2):
    """What the branch of detail makes of one date."""
    return [
        torch.randn(n, c, *(math.ceil(side / 2 ** (k + 1)) for side in size)) for k, c in enumerate(DETAIL)
    ]


def samples(n=2, size=64, classes=2):
    made = []
    for _ in range(n):
        sample = SegDataSample(metainfo={'img_shape': (size, size), 'ori_shape': (size, size)})
        sample.gt_sem_seg = PixelData(data=torch.randint(0, classes, (1, size, size)))
        made.append(sample)
    return made
