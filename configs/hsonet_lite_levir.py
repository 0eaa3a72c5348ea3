"""HSONet-lite on LEVIR-CD, the one for CPUs and small devices: 192 x 192 crops, 4.5k iterations.

An iteration takes 1 s on two CPU cores that compute in bfloat16 (--amp; docs/results.md). Also meant for
copies of LEVIR-CD at 1 m a pixel.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.hsonet_lite import *
    from ._base_.levir_256 import *
    from ._base_.runtime import *
    from ._base_.pipeline_cpu import train_pipeline  # in place of the one of levir_256

train_pipeline[2].min_size = 192  # MultiImgRandomScale
train_pipeline[3].crop_size = 192  # MultiImgBalancedCrop
train_dataloader.dataset.pipeline = train_pipeline
train_dataloader.num_workers, val_dataloader.num_workers, test_dataloader.num_workers = 2, 1, 1

# MMEngine heeds norm_decay_mult and bias_decay_mult only where no custom key matches: the backbone's norms do decay.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3)), norm_decay_mult=0.0, bias_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=200),
    dict(type='PolyLR', power=1.0, begin=200, end=4500, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(type='hsonet_mm.ResumableTrainLoop', max_iters=4500, val_interval=900)
default_hooks.checkpoint.interval = 900
