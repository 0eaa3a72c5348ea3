"""Geometric augmentation of image pairs, the same for both dates and the label."""

from collections.abc import Callable
from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.registry import TRANSFORMS

__all__ = ['MultiImgBalancedCrop', 'MultiImgRandomRot90', 'MultiImgRandomScale', 'with_bands']


def with_bands(image: NDArray) -> NDArray:
    """An image (H, W, bands) again after OpenCV, which returns one of a single band as (H, W)."""
    return image if image.ndim == 3 else image[..., None]


def _apply(
    results: dict[str, Any],
    to_image: Callable[[NDArray], NDArray],
    to_label: Callable[[NDArray], NDArray] | None = None,
) -> dict[str, Any]:
    """Apply one function to both dates and one (by default the same) to the labels, in place."""
    results['img'] = [to_image(image) for image in results['img']]
    for key in results.get('seg_fields', []):
        results[key] = (to_label or to_image)(results[key])
    results['img_shape'] = results['img'][0].shape[:2]
    return results


@TRANSFORMS.register_module()
class MultiImgBalancedCrop(BaseTransform):
    """Crop a random window that contains change with a given probability [choice].

    Change is rare: a uniform crop of a LEVIR-CD image often shows none. With probability ``changed_prob``
    one changed pixel is drawn and the window placed at random around it; otherwise, and in images without
    change, the window is placed at random.

    Required keys: ``img``, a list of two, and for the balance ``gt_seg_map``. Changed keys: these and
    ``img_shape``.

    Args:
        crop_size: Rows and columns of the window in pixels, or one number for both.
        changed_prob: Probability in [0, 1] that the window is placed around a changed pixel.

    Raises:
        UserError: naming the file, if the window is larger than an image.

    Example:
        >>> label = np.zeros((64, 64), np.uint8)
        >>> label[40, 50] = 1
        >>> sample = {'img': [np.zeros((64, 64, 3), np.uint8)] * 2, 'gt_seg_map': label, 'seg_fields': ['gt_seg_map']}
        >>> sample = MultiImgBalancedCrop(16, changed_prob=1.0)(sample)
        >>> sample['img'][0].shape, int(sample['gt_seg_map'].sum())
        ((16, 16, 3), 1)
    """

    def __init__(self, crop_size: int | tuple[int, int], changed_prob: float = 0.5) -> None:
        self.crop_size = (
            (crop_size, crop_size) if isinstance(crop_size, int) else (crop_size[0], crop_size[1])
        )
        if min(self.crop_size) < 1 or not 0 <= changed_prob <= 1:
            raise UserError(
                f'invalid crop_size={crop_size}, changed_prob={changed_prob} of MultiImgBalancedCrop: '
                'expected a positive size and a probability'
            )
        self.changed_prob = changed_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Cut the images and the labels of a sample."""
        shape = results['img'][0].shape[:2]
        if any(crop > size for crop, size in zip(self.crop_size, shape, strict=True)):
            raise UserError(
                f'the crop of {self.crop_size[0]} x {self.crop_size[1]} pixels is larger than the image '
                f'{results["img_path"][0]} of {shape[0]} x {shape[1]}: choose a smaller crop or larger tiles'
            )
        target = self._changed_pixel(results.get('gt_seg_map'))
        rows, columns = (
            self._interval(crop, size, None if target is None else target[axis])
            for axis, (crop, size) in enumerate(zip(self.crop_size, shape, strict=True))
        )
        return _apply(results, lambda array: array[rows, columns])

    def _changed_pixel(self, label: NDArray | None) -> tuple[int, int] | None:
        """Draw one changed pixel, or none."""
        if label is None or np.random.random() >= self.changed_prob:  # noqa: NPY002 (seeded by MMEngine)
            return None
        changed = np.flatnonzero(label == 1)
        if changed.size == 0:
            return None
        row, column = divmod(int(np.random.choice(changed)), label.shape[1])  # noqa: NPY002
        return row, column

    @staticmethod
    def _interval(crop: int, size: int, target: int | None) -> slice:
        """Draw ``crop`` successive indices below ``size``, among them the target if there is one."""
        first, last = 0, size - crop
        if target is not None:
            first, last = max(first, target - crop + 1), min(last, target)
        start = np.random.randint(first, last + 1)  # noqa: NPY002
        return slice(start, start + crop)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(crop_size={self.crop_size}, changed_prob={self.changed_prob})'


@TRANSFORMS.register_module()
class MultiImgRandomRot90(BaseTransform):
    """Rotate by 90, 180 or 270 degrees, or transpose, without interpolation [choice].

    Together with the flips this gives the eight symmetries of a square.

    Args:
        prob: Probability in [0, 1] of a rotation; the three angles are equally likely.
        transpose_prob: Probability in [0, 1] of exchanging rows and columns afterwards.

    Example:
        >>> sample = {'img': [np.zeros((8, 12, 3), np.uint8)] * 2, 'seg_fields': []}
        >>> MultiImgRandomRot90(prob=0.0, transpose_prob=1.0)(sample)['img'][0].shape
        (12, 8, 3)
    """

    def __init__(self, prob: float = 0.75, transpose_prob: float = 0.0) -> None:
        if not 0 <= prob <= 1 or not 0 <= transpose_prob <= 1:
            raise UserError(
                f'invalid prob={prob}, transpose_prob={transpose_prob} of MultiImgRandomRot90: expected '
                'probabilities between 0 and 1'
            )
        self.prob = prob
        self.transpose_prob = transpose_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Rotate the images and the labels of a sample."""
        turns = np.random.randint(1, 4) if np.random.random() < self.prob else 0  # noqa: NPY002
        transpose = np.random.random() < self.transpose_prob  # noqa: NPY002

        def turn(array: NDArray) -> NDArray:
            array = np.rot90(array, turns)
            return np.ascontiguousarray(array.swapaxes(0, 1) if transpose else array)

        return _apply(results, turn)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, transpose_prob={self.transpose_prob})'


@TRANSFORMS.register_module()
class MultiImgRandomScale(BaseTransform):
    """Scale by a random factor [choice]; bilinear for images, nearest neighbour for labels.

    Args:
        scale_range: Smallest and largest factor; the logarithm is drawn uniformly.
        min_size: Smallest number of rows and columns of the result, so that a crop still fits; smaller factors are
            raised accordingly.

    Example:
        >>> sample = {'img': [np.zeros((8, 12, 3), np.uint8)] * 2, 'seg_fields': []}
        >>> MultiImgRandomScale((2.0, 2.0))(sample)['img'][0].shape
        (16, 24, 3)
    """

    def __init__(self, scale_range: tuple[float, float], min_size: int = 1) -> None:
        low, high = scale_range
        if not 0 < low <= high:
            raise UserError(
                f'invalid scale_range {scale_range} of MultiImgRandomScale: expected 0 < smallest <= '
                'largest factor'
            )
        self.scale_range = (low, high)
        self.min_size = min_size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Scale the images and the labels of a sample."""
        rows, columns = results['img'][0].shape[:2]
        factor = np.exp(np.random.uniform(*np.log(self.scale_range)))  # noqa: NPY002
        factor = max(factor, min(1.0, self.min_size / min(rows, columns)))
        size = (round(columns * factor), round(rows * factor))
        return _apply(
            results,
            lambda image: with_bands(mmcv.imresize(image, size)),
            # centred on the pixels as the images are, which mmcv's 'nearest' is not
            lambda label: cv2.resize(label, size, interpolation=cv2.INTER_NEAREST_EXACT),
        )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale_range={self.scale_range}, min_size={self.min_size})'
