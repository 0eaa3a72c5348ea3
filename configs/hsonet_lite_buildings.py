"""HSONet-lite of the model "buildings" that ships: pairs of several building sets at 0.5 to 1 m, 192 x 192 crops.

The folder (BUILDINGS_CD_ROOT, or --data-root) holds the sets side by side in the LEVIR layout, as docs/models.md says.
"""

from mmengine.config import read_base

with read_base():
    from .hsonet_lite_levir import *

data_root = '${BUILDINGS_CD_ROOT:-data/buildings}'
for _loader in (train_dataloader, val_dataloader, test_dataloader):
    _loader.dataset.data_root = data_root
del _loader

train_pipeline[2].scale_range = (0.8, 1.8)  # MultiImgRandomScale: around model.input_scale below
train_pipeline[7].update(  # MultiImgPhotoMetricDistortion: light and season differ between the dates
    brightness_delta=25, contrast_range=(0.65, 1.45), saturation_range=(0.6, 1.4), hue_delta=10)
train_pipeline.insert(8, dict(type='hsonet_mm.MultiImgColourCast', gain_range=(0.8, 1.25), prob=0.5))
train_dataloader.dataset.pipeline = train_pipeline
train_dataloader.num_workers = 1

# Buildings at 1 m are a few pixels wide: the network sees everything enlarged.
model.input_scale = 1.5

# Mined late, never below half of plain cross entropy, without what looks mislabelled, small buildings as important as large
# ones; Dice for the rare class.
model.decode_head.loss_decode = [
    dict(type='hsonet_mm.EOLoss', form='all', gamma=2.0, schedule='cosine', trim=0.8, floor=0.5, balance=0.5, begin=0.3),
    dict(type='hsonet_mm.BinaryDiceLoss', loss_weight=0.5),
]

# A constant rate, then a short linear decay: a run can be lengthened from a checkpoint before its decay
# (default_hooks.checkpoint.interval=100 keeps some).
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type='ConstantLR', factor=1.0, by_epoch=False, begin=100, end=4900),
    dict(type='PolyLR', power=1.0, begin=4900, end=5800, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(type='hsonet_mm.ResumableTrainLoop', max_iters=5800, val_interval=2900)
default_hooks.checkpoint.interval = 2900
custom_hooks = [
    dict(type='hsonet_mm.FiniteLossHook'),
    dict(type='EMAHook', momentum=0.004, update_buffers=True),  # the mean of about 250 iterations
]
