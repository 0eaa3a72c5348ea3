"""Ablation of hsonet_levir.py: plain binary cross entropy in place of EO-loss.

The mean runs over the labelled pixels, as that of EO-loss does (rotation leaves some without a label): the same
training as with the constant schedule and balance 0, which also logs the shares of the gradient.
"""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.loss_decode = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True)
