"""MMSegmentation's transforms for image pairs, under Open-CD's names.

Where both dates must change alike, MMCV's cache of random parameters repeats on the second date what was
drawn for the first; the labels are changed once, with the first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_random_params
from mmseg.datasets import transforms as mmseg_transforms

from hsonet_mm.datasets import MultiImgLoadAnnotations, MultiImgLoadImageFromFile
from hsonet_mm.opencd_lite.registry import TRANSFORMS

__all__ = [
    'MultiImgExchangeTime',
    'MultiImgPackSegInputs',
    'MultiImgPhotoMetricDistortion',
    'MultiImgRandomCrop',
    'MultiImgRandomFlip',
    'MultiImgRandomRotate',
    'MultiImgResize',
]

TRANSFORMS.register_module(module=MultiImgLoadImageFromFile)
TRANSFORMS.register_module(module=MultiImgLoadAnnotations)


class _BothDates(BaseTransform):
    """Put before a transform of one image, it makes it one of a pair.

    ``results['img']`` is a list of two images; everything else in ``results`` is changed once.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Run the transform of the next class on each date, with the same random parameters."""
        t1, t2 = results['img']
        with cache_random_params(self):
            first = super().transform({**results, 'img': t1})
            second = super().transform({**results, 'img': t2, 'seg_fields': []})
        # The context leaves bound methods on the instance; they hold weak references, which do not pickle.
        for name in ('transform', *getattr(self, '_methods_with_randomness', ())):
            self.__dict__.pop(name, None)
        return {**first, 'img': [first['img'], second['img']]}


@TRANSFORMS.register_module()
class MultiImgRandomRotate(_BothDates, mmseg_transforms.RandomRotate):
    """:class:`mmseg.datasets.RandomRotate` of both dates by one angle."""


@TRANSFORMS.register_module()
class MultiImgRandomCrop(_BothDates, mmseg_transforms.RandomCrop):
    """:class:`mmseg.datasets.RandomCrop` of both dates at one place."""


@TRANSFORMS.register_module()
class MultiImgRandomFlip(_BothDates, mmseg_transforms.RandomFlip):
    """:class:`mmseg.datasets.RandomFlip` of both dates in one direction."""


@TRANSFORMS.register_module()
class MultiImgResize(_BothDates, mmseg_transforms.Resize):
    """:class:`mmseg.datasets.Resize` of both dates."""


@TRANSFORMS.register_module()
class MultiImgExchangeTime(BaseTransform):
    """Exchange the two dates.

    Args:
        prob: Probability of the exchange, in [0, 1].
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Exchange the images of a sample."""
        if np.random.random() < self.prob:  # noqa: NPY002 (seeded by MMEngine)
            results['img'] = results['img'][::-1]
        return results


@TRANSFORMS.register_module()
class MultiImgPhotoMetricDistortion(mmseg_transforms.PhotoMetricDistortion):
    """Distort brightness, contrast, saturation and hue of each date on its own.

    Args:
        *args: The arguments of :class:`mmseg.datasets.PhotoMetricDistortion`.
        consistent_contrast_mode: Whether contrast comes at the same place among the steps for both dates.
        **kwargs: More of them.
    """

    def __init__(self, *args: Any, consistent_contrast_mode: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.consistent_contrast_mode = consistent_contrast_mode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Distort the images of a sample."""
        contrast_first = np.random.randint(2, size=2)  # noqa: NPY002
        if self.consistent_contrast_mode:
            contrast_first[1] = contrast_first[0]
        results['img'] = [
            self._distort(image, first) for image, first in zip(results['img'], contrast_first, strict=True)
        ]
        return results

    def _distort(self, image: np.ndarray, contrast_first: bool) -> np.ndarray:
        """Distort one image, (H, W, 3); every step is taken with probability 0.5."""
        steps = [self.saturation, self.hue]
        steps.insert(0 if contrast_first else 2, self.contrast)
        for step in (self.brightness, *steps):
            image = step(image)
        return image


@TRANSFORMS.register_module()
class MultiImgPackSegInputs(mmseg_transforms.PackSegInputs):
    """Pack both dates into one tensor of shape (6, H, W), the first date first.

    Args:
        meta_keys: What of the sample goes into the meta information.
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = (
            'img_path', 'seg_map_path', 'seg_map_path_from', 'seg_map_path_to', 'ori_shape', 'img_shape',
            'pad_shape', 'scale_factor', 'flip', 'flip_direction',
        ),
    ) -> None:  # fmt: skip
        super().__init__(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack a sample."""
        return super().transform({**results, 'img': np.concatenate(results['img'], axis=2)})
