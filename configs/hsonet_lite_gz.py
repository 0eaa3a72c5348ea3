"""HSONet-lite on GZ-CD; no common split exists, see hsonet_gz.py."""

from mmengine.config import read_base

with read_base():
    from .hsonet_lite_levir import *

data_root = '${GZ_CD_ROOT:-data/GZ-CD}'
train_dataloader.dataset.data_root = data_root
val_dataloader.dataset.data_root = data_root
test_dataloader.dataset.data_root = data_root
