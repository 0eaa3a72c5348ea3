"""Ablation of hsonet_levir.py: form B of EO-loss, one normaliser a class."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.form = 'B'
