"""Ablation of hsonet_levir.py: focusing exponent 0 in place of 2, nothing trimmed. Cross entropy balanced by size."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.update(gamma=0.0, trim=1.0)
