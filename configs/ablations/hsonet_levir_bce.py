"""Ablation of hsonet_levir.py: binary cross entropy in place of EO-loss."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)
