"""Ablation of hsonet_levir.py: zeta falls linearly."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.schedule = 'linear'
