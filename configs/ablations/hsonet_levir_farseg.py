"""Ablation of hsonet_levir.py: EO-loss as FarSeg has it [code]: nothing is trimmed or balanced, and zeta falls to 0."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.update(trim=1.0, floor=0.0, balance=0.0)
