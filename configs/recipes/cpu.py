"""The recipe of leaderboards on CPUs: everything of a training but the model, alike for every method.

128 x 128 crops, batches of 4, AdamW at one learning rate for all weights. A spec sets data, seed and iterations; the
schedules and validations here are stretched to them.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.levir_256 import *
    from .._base_.runtime import *
    from .._base_.pipeline_cpu import train_pipeline  # in place of the one of levir_256

train_dataloader.batch_size = 4
train_dataloader.dataset.pipeline = train_pipeline
train_dataloader.num_workers, val_dataloader.num_workers, test_dataloader.num_workers = 2, 1, 1

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', power=1.0, begin=100, end=2000, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(type='hsonet_mm.ResumableTrainLoop', max_iters=2000, val_interval=500)
default_hooks.checkpoint.interval = 500
default_hooks.logger.interval = 10  # the points of the curves; EO-loss logs as often
