"""Plain Siamese U-Net with ResNet-18, binary cross entropy; the dates are concatenated as in unet_lite0.py."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

del model['detail']
model.neck = dict(type='FeatureFusionNeck', policy='concat')
model.decode_head = dict(
    type='hsonet_mm.UNetHead',
    in_channels=[2 * 64, 2 * 128, 2 * 256, 2 * 512],
    in_index=[0, 1, 2, 3],
    decoder_channels=(256, 128, 64, 32, 16),
    dropout_ratio=0.0,
    num_classes=2,
    out_channels=1,
    threshold=0.5,
    prior=0.02,  # the start of HSONet's classifier
    norm_cfg=dict(type='BN', requires_grad=True),
    align_corners=False,
    loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True))
