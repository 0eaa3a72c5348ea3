"""HSONet, ResNet-18, on GZ-CD.

GZ-CD has no common split: cut it by scene with tools/prepare_dataset.py and keep the manifest.
"""

from mmengine.config import read_base

with read_base():
    from .hsonet_levir import *

data_root = '${GZ_CD_ROOT:-data/GZ-CD}'
for _loader in (train_dataloader, val_dataloader, test_dataloader):
    _loader.dataset.data_root = data_root
del _loader
