"""FC-Siam-diff (arXiv 1810.08462) as in Open-CD: width 16, two-class cross-entropy."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.type = 'DIEncoderDecoder'
del model['detail']
del model['neck']
model.backbone = dict(type='FC_Siam_diff', in_channels=3, base_channel=16)
model.decode_head = dict(
    type='mmseg.FCNHead',
    in_channels=16,
    channels=16,
    in_index=-1,
    num_convs=0,
    concat_input=False,
    num_classes=2,
    loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0))
