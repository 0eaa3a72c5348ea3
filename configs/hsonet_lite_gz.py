"""HSONet-lite on GZ-CD: a third of the iterations of LEVIR-CD; no common split exists, see hsonet_gz.py."""

from mmengine.config import read_base

with read_base():
    from .hsonet_lite_levir import *

data_root = '${GZ_CD_ROOT:-data/GZ-CD}'
for _loader in (train_dataloader, val_dataloader, test_dataloader):
    _loader.dataset.data_root = data_root
del _loader

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', power=1.0, begin=100, end=1500, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(type='hsonet_mm.ResumableTrainLoop', max_iters=1500, val_interval=250)
default_hooks.checkpoint.interval = 250
