"""FC-EF (arXiv 1810.08462) as in Open-CD: width 16, two-class cross-entropy."""

from mmengine.config import read_base

with read_base():
    from .fc_siam_diff import *

model.backbone = dict(type='FC_EF', in_channels=6, base_channel=16)
