"""USSFC-Net (Lei et al., TGRS 2023) as published: 1.52 M parameters, from scratch, binary cross entropy.

The head is the network's last 1x1 convolution, with PyTorch's own initial weights, as the authors' has.
"""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.type = 'DIEncoderDecoder'
del model['detail']
del model['neck']
model.data_preprocessor.update(mean=[127.5] * 6, std=[127.5] * 6)
model.backbone = dict(type='hsonet_mm.USSFCNet', base_channels=32, dilation=3, mask='published')
model.decode_head = dict(
    type='mmseg.FCNHead',
    in_channels=32,
    in_index=0,
    channels=32,
    num_convs=0,
    concat_input=False,
    dropout_ratio=0.0,
    num_classes=2,
    out_channels=1,
    threshold=0.5,
    align_corners=False,
    init_cfg=None,
    loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True))
