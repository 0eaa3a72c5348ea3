"""Ablation of hsonet_levir.py: without the foreground-scene association, which is a plain FPN.

Nothing else looks at the scene embedding, so leaving that out of the neck too would change nothing.
"""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.decode_head.association = False
