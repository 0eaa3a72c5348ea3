"""HSONet, PVTv2-B2, on LEVIR-CD: the learning rate is lower, as usual for transformers."""

from mmengine.config import read_base

with read_base():
    from .hsonet_levir import *

model.backbone = dict(
    type='hsonet_mm.PVTv2',
    variant='b2',
    init_cfg=dict(
        type='Pretrained', checkpoint='https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b2.pth'))
model.neck.in_channels = [64, 128, 320, 512]
optim_wrapper.optimizer.lr = 2e-4
