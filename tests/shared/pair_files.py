"""Small image pairs and labels in files, and data sets of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from hsonet_mm.datasets import ChangeDataset

SIZE = (12, 16)
PREFIX = {'img_path_from': 'train/A', 'img_path_to': 'train/B', 'seg_map_path': 'train/label'}
CHANGED = np.zeros(SIZE, bool)
CHANGED[2:6, 3:9] = True


def save(array: np.ndarray, path: Path, **kwargs) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **kwargs)
    return path


def photo(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def dataset(root: Path | str, **kwargs) -> ChangeDataset:
    return ChangeDataset(**{'data_root': str(root), 'data_prefix': PREFIX, **kwargs})
