"""TinyCD (arXiv 2207.13159) as in Open-CD, but from scratch: one logit, binary cross-entropy."""

from mmengine.config import read_base

with read_base():
    from .._base_.levir_256 import *
    from .._base_.runtime import *
    from .._base_.schedule_40k import *

model = dict(
    type='DIEncoderDecoder',
    data_preprocessor=dict(
        type='DualInputSegDataPreProcessor',
        mean=[123.675, 116.28, 103.53] * 2,
        std=[58.395, 57.12, 57.375] * 2,
        bgr_to_rgb=True,
        size_divisor=32,
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=32)),
    backbone=dict(
        type='TinyCD',
        in_channels=3,
        bkbn_name='efficientnet_b4',
        pretrained=False,  # the from-scratch block of the leaderboard; True or a file for ImageNet weights
        output_layer_bkbn='3',
        freeze_backbone=False),
    decode_head=dict(
        type='IdentityHead',
        in_channels=1,
        in_index=-1,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
