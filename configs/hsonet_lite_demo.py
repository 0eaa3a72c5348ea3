"""HSONet-lite on the data of ``hsonet demo``: 128 x 128 crops, 700 iterations, minutes on two CPU cores.

Validation chooses the checkpoint; the learning rate is zero at the end, so that short runs end settled.
"""

from mmengine.config import read_base

with read_base():
    from .hsonet_lite_levir import *

data_root = '${DEMO_CD_ROOT:-demo_out/data}'
for _loader in (train_dataloader, val_dataloader, test_dataloader):
    _loader.dataset.data_root = data_root
del _loader

del train_pipeline[2]  # MultiImgRandomScale: all scenes have one resolution
train_pipeline[2].crop_size = 128  # MultiImgBalancedCrop
train_pipeline[6].update(  # MultiImgPhotoMetricDistortion
    brightness_delta=10, contrast_range=(0.9, 1.1), saturation_range=(0.9, 1.1), hue_delta=4)
train_dataloader.dataset.pipeline = train_pipeline

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', power=1.0, begin=50, end=700, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(type='hsonet_mm.ResumableTrainLoop', max_iters=700, val_interval=175)
default_hooks.checkpoint.interval = 175
