"""Ablation of hsonet_levir.py: zeta falls as (1 - s)^0.9."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.schedule = 'poly'
