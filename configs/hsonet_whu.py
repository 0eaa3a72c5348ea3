"""HSONet, ResNet-18, on WHU-CD.

WHU-CD is published as one pair of aerial images and exists under three incompatible protocols: cut it with
tools/prepare_dataset.py, keep the manifest, and name the split beside every figure.
"""

from mmengine.config import read_base

with read_base():
    from .hsonet_levir import *

data_root = '${WHU_CD_ROOT:-data/WHU-CD}'
for _loader in (train_dataloader, val_dataloader, test_dataloader):
    _loader.dataset.data_root = data_root
del _loader
