"""MMSegmentation's transforms for image pairs, under Open-CD's names.

Where both dates must change alike, MMCV's cache of random parameters repeats on the second date what was
drawn for the first; the labels are changed once, with the first.
"""

from collections.abc import Sequence
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_random_params
from mmseg.datasets import transforms as mmseg_transforms

from hsonet_mm.datasets import MultiImgLoadAnnotations, MultiImgLoadImageFromFile
from hsonet_mm.datasets.transforms import with_bands
from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import TRANSFORMS

__all__ = [
    'MultiImgExchangeTime',
    'MultiImgPackSegInputs',
    'MultiImgPhotoMetricDistortion',
    'MultiImgRandomCrop',
    'MultiImgRandomFlip',
    'MultiImgRandomRotFlip',
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
        return {**first, 'img': [with_bands(date['img']) for date in (first, second)]}


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
class MultiImgRandomRotFlip(mmseg_transforms.RandomRotFlip):
    """Rotate a sample by an angle or else turn it by quarters and mirror it, both dates and the labels alike.

    Args:
        rotate_prob: Probability of the rotation, in [0, 1].
        flip_prob: Probability, in [0, 1], that a sample which was not rotated is turned by 0 to 3 quarters, then
            mirrored upside down or left to right.
        degree: The angles, in degrees: lowest and highest, or a positive number d for (-d, d).
        pad_val: What fills the corners of a rotated image.
        seg_pad_val: What fills those of its labels.

    Raises:
        UserError: For a probability outside [0, 1], or degrees that are not a range.
    """

    def __init__(
        self,
        rotate_prob: float = 0.5,
        flip_prob: float = 0.5,
        degree: float | Sequence[float] = (-20, 20),
        pad_val: float = 0,
        seg_pad_val: int = 255,
    ) -> None:
        for name, prob in (('rotate_prob', rotate_prob), ('flip_prob', flip_prob)):
            if not 0 <= prob <= 1:
                raise UserError(
                    f'invalid {name} {prob} of MultiImgRandomRotFlip: expected a probability between 0 and 1'
                )
        is_range = len(degree) == 2 if isinstance(degree, Sequence) else degree > 0
        if not is_range:
            raise UserError(
                f'invalid degree {degree} of MultiImgRandomRotFlip: expected two angles or a positive number'
            )
        super().__init__(rotate_prob, flip_prob, degree)
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val

    def random_rotate(self, results: dict[str, Any]) -> dict[str, Any]:
        """Rotate a sample by one random angle; labels take the nearest pixel."""
        angle = np.random.uniform(min(self.degree), max(self.degree))  # noqa: NPY002 (seeded by MMEngine)
        fill = (self.pad_val,) * 4  # of each channel
        results['img'] = [
            with_bands(mmcv.imrotate(image, angle, border_value=fill)) for image in results['img']
        ]
        for key in results.get('seg_fields', []):
            results[key] = mmcv.imrotate(
                results[key], angle, border_value=self.seg_pad_val, interpolation='nearest'
            )
        return results

    def random_rot_flip(self, results: dict[str, Any]) -> dict[str, Any]:
        """Turn a sample by quarters and mirror it."""
        quarters, axis = np.random.randint(4), np.random.randint(2)  # noqa: NPY002
        results['img'] = [_turn(image, quarters, axis) for image in results['img']]
        for key in results.get('seg_fields', []):
            results[key] = _turn(results[key], quarters, axis)
        results['img_shape'] = results['img'][0].shape[:2]
        return results


def _turn(array: np.ndarray, quarters: int, axis: int) -> np.ndarray:
    """Turn an image, (H, W, ...), by quarters against the clock, then mirror it along an axis."""
    return np.ascontiguousarray(np.flip(np.rot90(array, quarters), axis))


@TRANSFORMS.register_module()
class MultiImgResize(_BothDates, mmseg_transforms.Resize):
    """:class:`mmseg.datasets.Resize` of both dates."""


@TRANSFORMS.register_module()
class MultiImgExchangeTime(BaseTransform):
    """Exchange the two dates with a probability."""

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
