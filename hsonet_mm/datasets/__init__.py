"""Data sets, loading and transforms for image pairs, for Open-CD and its stand-in."""

from hsonet_mm.datasets.change_dataset import ChangeDataset
from hsonet_mm.datasets.loading import MultiImgLoadAnnotations, MultiImgLoadImageFromFile
from hsonet_mm.datasets.photometric import MultiImgBrightnessContrast, MultiImgColourCast
from hsonet_mm.datasets.seeded_sampler import SeededSampler
from hsonet_mm.datasets.transforms import MultiImgBalancedCrop, MultiImgRandomRot90, MultiImgRandomScale

__all__ = [
    'ChangeDataset',
    'MultiImgBalancedCrop',
    'MultiImgBrightnessContrast',
    'MultiImgColourCast',
    'MultiImgLoadAnnotations',
    'MultiImgLoadImageFromFile',
    'MultiImgRandomRot90',
    'MultiImgRandomScale',
    'SeededSampler',
]
