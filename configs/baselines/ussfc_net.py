"""USSFC-Net (Lei et al., TGRS 2023) as published: 1.52 M parameters, from scratch, binary cross entropy.

The head is the network's last 1x1 convolution, with PyTorch's own initial weights, as the authors' has.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.levir_256 import *
    from .._base_.runtime import *
    from .._base_.schedule_40k import *

model = dict(
    type='DIEncoderDecoder',
    data_preprocessor=dict(
        type='DualInputSegDataPreProcessor',
        mean=[127.5] * 6,
        std=[127.5] * 6,
        bgr_to_rgb=True,
        size_divisor=32,
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=32)),
    backbone=dict(type='hsonet_mm.USSFCNet', base_channels=32, dilation=3, mask='published'),
    decode_head=dict(
        type='mmseg.FCNHead',
        in_channels=32,
        in_index=0,
        channels=32,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        align_corners=False,
        init_cfg=None,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
