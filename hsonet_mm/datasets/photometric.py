"""Photometric augmentation of image pairs: each date on its own, any number of bands."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.registry import TRANSFORMS

__all__ = ['MultiImgBrightnessContrast', 'MultiImgColourCast']


@TRANSFORMS.register_module()
class MultiImgBrightnessContrast(BaseTransform):
    """Distort brightness and contrast of each date on its own, for any number of bands.

    It is ``MultiImgPhotoMetricDistortion`` without hue and saturation: first brightness, then contrast, each with
    probability 0.5.

    Args:
        brightness_delta: Largest value that is added or subtracted, of 255.
        contrast_range: Smallest and largest factor.

    Example:
        >>> dates = [np.full((4, 4, 6), 100, np.uint8)] * 2
        >>> dates = MultiImgBrightnessContrast(brightness_delta=20, contrast_range=(1, 1))({'img': dates})['img']
        >>> all(80 <= date.min() <= date.max() <= 120 for date in dates)
        True
    """

    def __init__(
        self, brightness_delta: float = 32, contrast_range: tuple[float, float] = (0.5, 1.5)
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Distort the images of a sample."""
        results['img'] = [self._distort(image) for image in results['img']]
        return results

    def _distort(self, image: NDArray) -> NDArray:
        added = np.random.uniform(-1, 1) * self.brightness_delta if np.random.random() < 0.5 else 0.0  # noqa: NPY002
        factor = np.random.uniform(*self.contrast_range) if np.random.random() < 0.5 else 1.0  # noqa: NPY002
        changed = (image.astype(np.float32) + np.float32(added)).clip(0, 255) * np.float32(factor)
        return changed.clip(0, 255).astype(image.dtype)


@TRANSFORMS.register_module()
class MultiImgColourCast(BaseTransform):
    """Multiply each band of each date by a random factor of its own, as haze, a low sun and other sensors do [choice].

    ``MultiImgPhotoMetricDistortion`` shifts hues and scales saturation, but never gives grey surfaces a tint. A network
    trained without casts predicts change where one date is tinted.

    Args:
        gain_range: Smallest and largest factor; the logarithm is drawn uniformly. Results are rounded and cut to 255.
        prob: Probability in [0, 1] of a cast, for each date.

    Raises:
        UserError: for values out of range.

    Example:
        >>> dates = [np.full((4, 4, 3), 100, np.uint8)] * 2
        >>> t1, t2 = MultiImgColourCast(gain_range=(0.8, 1.25), prob=1.0)({'img': dates})['img']
        >>> all(80 <= date.min() <= date.max() <= 125 for date in (t1, t2)), bool((t1 != t2).any())
        (True, True)
    """

    def __init__(self, gain_range: tuple[float, float] = (0.8, 1.25), prob: float = 0.5) -> None:
        low, high = gain_range
        if not 0 < low <= high or not 0 <= prob <= 1:
            raise UserError(
                f'invalid gain_range={gain_range}, prob={prob} of MultiImgColourCast: expected 0 < smallest <= '
                'largest factor and a probability between 0 and 1'
            )
        self.gain_range = (low, high)
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Tint the images of a sample."""
        results['img'] = [self._tint(image) for image in results['img']]
        return results

    def _tint(self, image: NDArray) -> NDArray:
        if np.random.random() >= self.prob:  # noqa: NPY002 (seeded by MMEngine)
            return image
        low, high = np.log(self.gain_range)
        gains = np.exp(np.random.uniform(low, high, size=image.shape[2]))  # noqa: NPY002
        return np.rint(image * gains.astype(np.float32)).clip(0, 255).astype(image.dtype)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(gain_range={self.gain_range}, prob={self.prob})'
