"""HSONet with ResNet-18: d = u = 256, decoder 128, |D1 - D2|, EO-loss; the high-resolution branch as in hsonet_lite.py.

Relations by scaled dot products and the high-resolution branch are ours (docs/method.md).
"""

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
    detail=dict(type='hsonet_mm.DetailBranch', channels=[32, 64, 96]),
    neck=dict(
        type='hsonet_mm.VFPN',
        in_channels=[64, 128, 256, 512],
        out_channels=256,
        policy='concat',
        batch_dates=True),
    decode_head=dict(
        type='hsonet_mm.FSAssociationHead',
        in_channels=[32, 64, 96, 256, 256, 256, 256, 512],
        channels=128,
        association_channels=256,
        scaled=True,
        fusion='abs_diff',
        dropout_ratio=0.0,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(
            type='hsonet_mm.EOLoss', gamma=2.0, schedule='cosine', form='all', trim=0.8, floor=0.5, balance=0.5)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
