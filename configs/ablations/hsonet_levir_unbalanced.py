"""Ablation of hsonet_levir.py: EO-loss without weights by size."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.balance = 0.0
