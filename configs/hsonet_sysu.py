"""HSONet, ResNet-18, on SYSU-CD (official split, 256 x 256 images: both protocols are one)."""

from mmengine.config import read_base

with read_base():
    from .hsonet_levir import *

data_root = '${SYSU_CD_ROOT:-data/SYSU-CD}'
for _split, _loader in zip(('train', 'val', 'test'), (train_dataloader, val_dataloader, test_dataloader)):
    _loader.dataset.update(
        data_root=data_root,
        data_prefix=dict(
            img_path_from=f'{_split}/time1', img_path_to=f'{_split}/time2', seg_map_path=f'{_split}/label'))
del _split, _loader
