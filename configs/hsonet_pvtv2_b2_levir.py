"""HSONet, PVTv2-B2, on LEVIR-CD."""

from mmengine.config import read_base

with read_base():
    from .hsonet_pvtv2_b1_levir import *

model.backbone.variant = 'b2'
model.backbone.init_cfg.checkpoint = 'https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b2.pth'
