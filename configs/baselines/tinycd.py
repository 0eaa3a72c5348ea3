"""TinyCD (arXiv 2207.13159) as in Open-CD, but from scratch: one logit, binary cross-entropy."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.type = 'DIEncoderDecoder'
del model['detail']
del model['neck']
model.backbone = dict(
    type='TinyCD',
    in_channels=3,
    bkbn_name='efficientnet_b4',
    pretrained=False,  # the from-scratch block of the leaderboard; True or a file for ImageNet weights
    output_layer_bkbn='3',
    freeze_backbone=False)
model.decode_head = dict(
    type='IdentityHead',
    in_channels=1,
    in_index=-1,
    num_classes=2,
    out_channels=1,
    threshold=0.5,
    loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0))
