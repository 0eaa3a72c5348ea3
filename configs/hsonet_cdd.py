"""HSONet, ResNet-18, on CDD, the season-varying data set that Open-CD calls SVCD (256 x 256 images)."""

from mmengine.config import read_base

with read_base():
    from .hsonet_levir import *

data_root = '${CDD_ROOT:-data/CDD}'
for _split, _loader in zip(('train', 'val', 'test'), (train_dataloader, val_dataloader, test_dataloader)):
    _loader.dataset.update(
        data_root=data_root,
        data_prefix=dict(
            img_path_from=f'{_split}/A', img_path_to=f'{_split}/B', seg_map_path=f'{_split}/OUT'))
del _split, _loader
