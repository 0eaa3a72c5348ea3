"""Ablation of hsonet_levir.py: FarSeg++'s residual form of the association."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.residual = True
