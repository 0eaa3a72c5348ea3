"""Ablation of hsonet_levir.py: relations of the association as in FarSeg, by dot products that are not scaled."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.scaled = False
