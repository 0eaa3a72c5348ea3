"""USSFC-Net with the masks as PSConv means them, without the slip of index in the published code."""

from mmengine.config import read_base

with read_base():
    from .ussfc_net import *

model.backbone.mask = 'psconv'
