"""HSONet, ResNet-18, on CDD, the season-varying data set that Open-CD calls SVCD (256 x 256 images)."""

from mmengine.config import read_base

with read_base():
    from .hsonet_levir import *

data_root = '${CDD_ROOT:-data/CDD}'
train_dataloader.dataset.data_root = data_root
val_dataloader.dataset.data_root = data_root
test_dataloader.dataset.data_root = data_root
train_dataloader.dataset.data_prefix = dict(
    img_path_from='train/A', img_path_to='train/B', seg_map_path='train/OUT')
val_dataloader.dataset.data_prefix = dict(
    img_path_from='val/A', img_path_to='val/B', seg_map_path='val/OUT')
test_dataloader.dataset.data_prefix = dict(
    img_path_from='test/A', img_path_to='test/B', seg_map_path='test/OUT')
