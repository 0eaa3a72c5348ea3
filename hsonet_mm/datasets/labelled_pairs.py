"""The labelled pairs of a split of a config, prepared for prediction."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.labels import no_label

__all__ = ['LabelledPair', 'LabelledPairs']


class LabelledPair(NamedTuple):
    """A pair and its label.

    Attributes:
        t1: First date, (H, W, bands) of 8 bits, three bands in BGR.
        t2: Second date.
        target: (H, W): 0 unchanged, 1 changed, 255 does not count.
    """

    t1: NDArray[np.uint8]
    t2: NDArray[np.uint8]
    target: NDArray[np.uint8]


class LabelledPairs:
    """A split of a config, ``'val'`` or ``'test'``; each pass over it reads the files again.

    Raises:
        UserError: without such a split, for a pair without a label or a pipeline that changes the size of images,
            and as the data set.
    """

    def __init__(self, config: Config, data_root: str | None = None, split: str = 'val') -> None:
        loader = config.get(f'{split}_dataloader')
        if not loader:
            name = {'val': 'validation', 'test': 'test'}[split]
            what = config.filename or 'the model by itself'
            raise UserError(f'{what} has no {split}_dataloader: give a config with a {name} split')
        self._name, self._split = config.filename, split
        options = dict(loader.dataset)
        if data_root is not None:
            options['data_root'] = data_root
        with DefaultScope.overwrite_default_scope(config.get('default_scope', 'opencd')):
            self._data_set: Any = DATASETS.build(options)

    def __len__(self) -> int:
        return len(self._data_set)

    def __iter__(self) -> Iterator[LabelledPair]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> LabelledPair:
        sample = self._data_set[index]
        pair = sample['inputs'].permute(1, 2, 0).numpy().astype(np.uint8)
        info = sample['data_samples']
        if 'gt_sem_seg' not in info:
            raise no_label(info.img_path[0])
        target = info.gt_sem_seg.data[0].numpy().astype(np.uint8)
        if not pair.shape[:2] == target.shape == tuple(info.ori_shape):
            raise UserError(
                f'the {self._split} pipeline of {self._name} changes the size of the images, which hsonet '
                'predict does not: remove MultiImgResize and similar transforms'
            )
        t1, t2 = np.split(pair, 2, axis=2)
        return LabelledPair(t1, t2, target)
