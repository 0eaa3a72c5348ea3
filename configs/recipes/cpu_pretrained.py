"""The recipe of leaderboards on CPUs for pre-trained backbones, which learn at 0.3 of the learning rate."""

from mmengine.config import read_base

with read_base():
    from .cpu import *

optim_wrapper.paramwise_cfg.custom_keys = dict(backbone=dict(lr_mult=0.3))
