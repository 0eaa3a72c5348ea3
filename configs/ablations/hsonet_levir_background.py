"""Ablation of hsonet_levir.py: EO-loss of the background alone.

Hardness and normaliser are those of the background; the foreground keeps its plain weights.
"""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode.form = 'background'
