"""Plain Siamese U-Net with ResNet-18, binary cross entropy; the dates are concatenated as in unet_lite0.py."""

from mmengine.config import read_base

with read_base():
    from .._base_.levir_256 import *
    from .._base_.runtime import *
    from .._base_.schedule_40k import *

model = dict(
    type='hsonet_mm.SiamEncoderDecoder',
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
        type='mmseg.ResNetV1c',
        depth=18,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 1, 1),
        strides=(1, 2, 2, 2),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        contract_dilation=True,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet18_v1c')),
    neck=dict(type='FeatureFusionNeck', policy='concat'),
    decode_head=dict(
        type='hsonet_mm.UNetHead',
        in_channels=[2 * 64, 2 * 128, 2 * 256, 2 * 512],
        in_index=[0, 1, 2, 3],
        decoder_channels=(256, 128, 64, 32, 16),
        dropout_ratio=0.0,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
