"""Ablation of hsonet_levir.py: a plain FPN: neither scene embedding nor association."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.neck.scene_embedding = False
model.decode_head.association = False
model.decode_head.in_channels = [256, 256, 256, 256]
model.decode_head.in_index = [0, 1, 2, 3]
