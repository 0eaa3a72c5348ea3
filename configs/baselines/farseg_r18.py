"""Siamese FarSeg with ResNet-18, ChangeStar's supervised form (Zheng et al., ICCV 2021, arXiv 2108.07002)."""

from mmengine.config import read_base

with read_base():
    from .._base_.levir_256 import *
    from .._base_.runtime import *
    from .._base_.schedule_40k import *

model = dict(
    type='SiamEncoderDecoder',
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
    neck=dict(
        type='FarSegFPN', policy='concat', in_channels=[64, 128, 256, 512], out_channels=256, num_outs=4),
    decode_head=dict(
        type='ChangeStarHead',
        inference_mode='t1t2',
        in_channels=[1, 1, 1, 1, 1],  # not used
        in_index=[0, 1, 2, 3, 4],
        channels=96,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        seg_head_cfg=dict(
            type='FarSegHead',
            in_channels=[256, 256, 256, 256, 512],
            in_index=[0, 1, 2, 3, 4],
            fsr_channels=256,
            channels=128,
            dropout_ratio=0.0,
            norm_cfg=dict(type='BN', requires_grad=True),
            align_corners=False),
        changemixin_cfg=dict(in_channels=256, inner_channels=96, num_convs=1),
        # Not MMSegmentation's DiceLoss, as in Open-CD's config: on one channel its target is "unchanged", so that the
        # two losses pull against each other.
        loss_decode=[
            dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, loss_name='loss_ce', loss_weight=1.0),
            dict(type='hsonet_mm.BinaryDiceLoss')]),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
