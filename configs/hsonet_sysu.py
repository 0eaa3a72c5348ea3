"""HSONet, ResNet-18, on SYSU-CD (official split, 256 x 256 images: both protocols are one)."""

from mmengine.config import read_base

with read_base():
    from .hsonet_levir import *

data_root = '${SYSU_CD_ROOT:-data/SYSU-CD}'
train_dataloader.dataset.data_root = data_root
val_dataloader.dataset.data_root = data_root
test_dataloader.dataset.data_root = data_root
train_dataloader.dataset.data_prefix = dict(
    img_path_from='train/time1', img_path_to='train/time2', seg_map_path='train/label')
val_dataloader.dataset.data_prefix = dict(
    img_path_from='val/time1', img_path_to='val/time2', seg_map_path='val/label')
test_dataloader.dataset.data_prefix = dict(
    img_path_from='test/time1', img_path_to='test/time2', seg_map_path='test/label')
