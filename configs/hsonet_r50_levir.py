"""HSONet, ResNet-50, on LEVIR-CD."""

from mmengine.config import read_base

with read_base():
    from .hsonet_levir import *

model.backbone.depth = 50
model.backbone.init_cfg.checkpoint = 'open-mmlab://resnet50_v1c'
model.neck.in_channels = [256, 512, 1024, 2048]
model.decode_head.in_channels = [32, 64, 96, 256, 256, 256, 256, 2048]
