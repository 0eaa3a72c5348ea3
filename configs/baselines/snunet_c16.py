"""SNUNet-CD with ECAM (doi 10.1109/LGRS.2021.3056416) as in Open-CD: width 16, two-class cross-entropy."""

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
    backbone=dict(type='SNUNet_ECAM', in_channels=3, base_channel=16),
    decode_head=dict(
        type='mmseg.FCNHead',
        in_channels=64,
        channels=64,
        in_index=-1,
        num_convs=0,
        concat_input=False,
        num_classes=2,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
