"""HSONet, ResNet-18, on GZ-CD.

GZ-CD has no common split: cut it by scene with tools/prepare_dataset.py and keep the manifest.
"""

from mmengine.config import read_base

with read_base():
    from .hsonet_levir import *

data_root = '${GZ_CD_ROOT:-data/GZ-CD}'
train_dataloader.dataset.data_root = data_root
val_dataloader.dataset.data_root = data_root
test_dataloader.dataset.data_root = data_root
