"""Made-up data sets: pairs of noise with a mask each."""

import numpy as np
from PIL import Image


def picture(seed, height=64, width=64):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def mask(seed, height=64, width=64, high=255):
    values = np.zeros((height, width), np.uint8)
    values[seed % 40 : seed % 40 + 9, 5:21] = high
    return values


def save(path, array, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **kwargs)


def add_scene(root, stem, seed, folders=('A', 'B', 'label'), size=(64, 64), suffix='.png', label=None):
    save(root / folders[0] / f'{stem}{suffix}', picture(seed, *size))
    save(root / folders[1] / f'{stem}{suffix}', picture(seed + 1000, *size))
    save(root / folders[2] / f'{stem}.png', mask(seed, *size) if label is None else label)


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def read(path):
    return np.asarray(Image.open(path))


def splits_of(manifest):
    return {tile['scene']: tile['split'] for tile in manifest['files']}
