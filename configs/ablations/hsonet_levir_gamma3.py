"""Ablation of hsonet_levir.py: focusing exponent 3 in place of 2."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.gamma = 3.0
