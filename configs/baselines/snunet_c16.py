"""SNUNet-CD with ECAM (doi 10.1109/LGRS.2021.3056416) as in Open-CD: width 16, two-class cross-entropy."""

from mmengine.config import read_base

with read_base():
    from .fc_siam_diff import *

model.backbone.type = 'SNUNet_ECAM'
model.decode_head.update(in_channels=64, channels=64)
