"""Ablation of hsonet_levir.py: one scene projection for all pyramid levels."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.scale_aware = False
