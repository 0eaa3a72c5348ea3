"""BIT (Chen et al., TGRS 2021, arXiv 2103.00208) with ResNet-18 without its last stage, cross-entropy."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.type = 'SiamEncoderDecoder'
del model['detail']
model.backbone.update(num_stages=3, out_indices=(2, ), dilations=(1, 1, 1), strides=(1, 2, 1))
model.neck = dict(type='FeatureFusionNeck', policy='concat', out_indices=(0, ))
model.decode_head = dict(
    type='BITHead',
    in_channels=256,
    channels=32,
    embed_dims=64,
    enc_depth=1,
    enc_with_pos=True,
    dec_depth=8,
    num_heads=8,
    drop_rate=0.0,
    use_tokenizer=True,
    token_len=4,
    upsample_size=4,
    num_classes=2,
    norm_cfg=dict(type='LN', requires_grad=True),
    align_corners=False,
    loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0))
