"""The recipe of leaderboards on CPUs for pre-trained backbones: a lower learning rate, and 0.3 of it for them."""

from mmengine.config import read_base

with read_base():
    from .cpu import *

optim_wrapper.optimizer.lr = 1e-3
# MMEngine heeds norm_decay_mult and bias_decay_mult only where no custom key matches: norms and biases of backbones decay.
optim_wrapper.paramwise_cfg.custom_keys = dict(backbone=dict(lr_mult=0.3))
