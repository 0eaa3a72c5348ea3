"""Ablation of hsonet_levir.py: EO-loss of the largest 20 % of the losses."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.form = 'top_share'
