"""ChangerEx (Fang et al., TGRS 2023, arXiv 2209.08290) with ResNet-18, cross-entropy on hard pixels."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.type = 'DIEncoderDecoder'
del model['detail']
del model['neck']
model.backbone.update(
    type='IA_ResNetV1c',
    interaction_cfg=(
        None,
        dict(type='SpatialExchange', p=1 / 2),
        dict(type='ChannelExchange', p=1 / 2),
        dict(type='ChannelExchange', p=1 / 2)))
model.decode_head = dict(
    type='Changer',
    in_channels=[64, 128, 256, 512],
    in_index=[0, 1, 2, 3],
    channels=128,
    dropout_ratio=0.1,
    num_classes=2,
    norm_cfg=dict(type='BN', requires_grad=True),
    align_corners=False,
    # The 100000 hardest pixels an image are always kept, so up to crops of 316 x 316 nothing is left out.
    sampler=dict(type='mmseg.OHEMPixelSampler', thresh=0.7, min_kept=100000),
    loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0))
