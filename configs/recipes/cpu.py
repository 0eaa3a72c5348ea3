"""The recipe of leaderboards on CPUs: everything of a training but the model, alike for every method.

128 x 128 crops, batches of 4, AdamW at one learning rate for all weights. A spec sets data, seed and iterations; the
schedules and validations here are stretched to them.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.levir_256 import *
    from .._base_.runtime import *

train_pipeline = [
    dict(type='hsonet_mm.MultiImgLoadImageFromFile'),
    dict(type='hsonet_mm.MultiImgLoadAnnotations'),
    dict(type='hsonet_mm.MultiImgRandomScale', scale_range=(0.8, 1.25), min_size=128),
    dict(type='hsonet_mm.MultiImgBalancedCrop', crop_size=128, changed_prob=0.5),
    dict(type='hsonet_mm.MultiImgRandomRot90', prob=0.75),
    dict(type='MultiImgRandomFlip', prob=0.5, direction='horizontal'),
    dict(type='MultiImgExchangeTime', prob=0.5),
    dict(
        type='MultiImgPhotoMetricDistortion',
        brightness_delta=20,
        contrast_range=(0.8, 1.25),
        saturation_range=(0.7, 1.3),
        hue_delta=8),
    dict(type='MultiImgPackSegInputs'),
]
train_dataloader.batch_size = 4
train_dataloader.dataset.pipeline = train_pipeline
train_dataloader.num_workers = 2
val_dataloader.num_workers = 1
test_dataloader.num_workers = 1

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', power=1.0, begin=100, end=2000, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2000, val_interval=500)
default_hooks.checkpoint.interval = 500
default_hooks.checkpoint.max_keep_ckpts = 1
default_hooks.logger.interval = 10  # the points of the curves; EO-loss logs as often
