"""Ablation of hsonet_levir.py: zeta stays 1, so that EO-loss is cross entropy balanced by size."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.schedule = 'constant'
