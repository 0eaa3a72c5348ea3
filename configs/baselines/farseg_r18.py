"""Siamese FarSeg with ResNet-18, ChangeStar's supervised form (Zheng et al., ICCV 2021, arXiv 2108.07002)."""

from mmengine.config import read_base

with read_base():
    from ..hsonet_levir import *

model.type = 'SiamEncoderDecoder'
del model['detail']
model.neck = dict(
    type='FarSegFPN', policy='concat', in_channels=[64, 128, 256, 512], out_channels=256, num_outs=4)
model.decode_head = dict(
    type='ChangeStarHead',
    inference_mode='t1t2',
    in_channels=[1, 1, 1, 1, 1],  # not used
    in_index=[0, 1, 2, 3, 4],
    channels=96,
    num_classes=2,
    out_channels=1,
    threshold=0.5,
    seg_head_cfg=dict(
        type='FarSegHead',
        in_channels=[256, 256, 256, 256, 512],
        in_index=[0, 1, 2, 3, 4],
        fsr_channels=256,
        channels=128,
        dropout_ratio=0.0,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False),
    changemixin_cfg=dict(in_channels=256, inner_channels=96, num_convs=1),
    # Not MMSegmentation's DiceLoss, as in Open-CD's config: on one channel its target is "unchanged", so that the
    # two losses work against each other.
    loss_decode=[
        dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True, loss_name='loss_ce', loss_weight=1.0),
        dict(type='hsonet_mm.BinaryDiceLoss')])
