"""Plain Siamese U-Net with ResNet-18, binary cross entropy; the dates are concatenated as in unet_lite0.py."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *
    from .._base_.unet_head import *

del model['detail']
model.neck = dict(type='FeatureFusionNeck', policy='concat')
model.decode_head = dict(decode_head, in_channels=[2 * 64, 2 * 128, 2 * 256, 2 * 512])
del decode_head
