"""FC-Siam-conc (arXiv 1810.08462) as in Open-CD: width 16, two-class cross-entropy."""

from mmengine.config import read_base

with read_base():
    from .fc_siam_diff import *

model.backbone.type = 'FC_Siam_conc'
