"""USSFC-Net with the masks of PSConv, without the indexing error of the published code."""

from mmengine.config import read_base

with read_base():
    from .ussfc_net import *

model.backbone.mask = 'psconv'
