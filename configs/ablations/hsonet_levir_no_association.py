"""Ablation of hsonet_levir.py: without the foreground-scene association."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.association = False
