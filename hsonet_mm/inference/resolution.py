"""Images whose pixels have another size on the ground than a model knows: a warning, and the way there and back.

A pixel of the wanted size is the mean of those that it covers, or lies between them (bilinear) where it is smaller;
probabilities come back by interpolation between theirs. [choice]
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.images.ground import PixelSize
from hsonet_mm.windows import Axis, Window, WindowGrid

__all__ = ['MODELS_OWN', 'Resampling', 'resampling', 'resolution_note']

MODELS_OWN = 'model'
"""In the place of a size in metres: the nearest that the model is for."""
FAR = 1.5
"""A pixel that is so many times as large or as small as the model's is worth a warning. [choice]"""
NEAR = 1.1
"""One that is not even so many times as large or small stays as it is. [choice]"""
Range = tuple[float, float]


def resolution_note(path: object, size: PixelSize, model: str, wanted: Range | None) -> str | None:
    """A sentence for an image whose pixels are far from what a model knows; None where they are not.

    Args:
        path: What to call the image.
        size: Its pixels on the ground.
        model: What to call the model.
        wanted: Smallest and largest size of a pixel that the model is for; None where nobody said.
    """
    if wanted is None or wanted[0] / FAR <= size.mean <= wanted[1] * FAR:
        return None
    return (
        f'{path} has pixels of {size.mean:.3g} m on the ground, and {model} is for {_words(wanted)}: bring it there '
        'with --resample'
    )


def _words(wanted: Range) -> str:
    return f'{wanted[0]:g} m' if wanted[0] == wanted[1] else f'{wanted[0]:g} to {wanted[1]:g} m'


@dataclass(frozen=True)
class Resampling:
    """From the pixels of an image to those that a model is to see, and back.

    Attributes:
        down: Rows of the image for one of the model.
        across: Columns of the image for one of the model.
        metres: Size of the model's pixels on the ground.
        tile: The only height and width that the model takes; None for any.
    """

    down: float
    across: float
    metres: float
    tile: int | None = None

    def grid(self, window: Window, height: int, width: int) -> WindowGrid:
        """Windows over an image, each as large as the model's window is on the ground.

        Args:
            window: The model's window.
            height: Rows of the image.
            width: Columns of the image.
        """
        axes = []
        for length, factor in ((height, self.down), (width, self.across)):
            size, overlap = (max(1, round(pixels * factor)) for pixels in (window.size, window.overlap))
            axes.append(Axis.make(length, size, min(overlap, size - 1), window.fixed))
        return WindowGrid(*axes)

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that the model sees of an image of that size."""
        if self.tile is not None:
            return self.tile, self.tile
        return max(1, round(height / self.down)), max(1, round(width / self.across))

    def there(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images as the model is to see them, (N, H, W, bands) to (N, h, w, bands)."""
        rows, columns = self.shape(*images.shape[1:3])
        made = np.empty((len(images), rows, columns, images.shape[3]), np.uint8)
        for image, target in zip(images, made, strict=True):
            for band in range(images.shape[3]):
                values = np.ascontiguousarray(image[..., band])
                target[..., band] = _resize(_resize(values, rows, values.shape[1]), rows, columns)
        return made

    def back(self, probs: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Probabilities (N, h, w) for the pixels of the images, (N, H, W)."""
        return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in probs])


def _resize(values: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Means where there become fewer, along one axis at a time, else values in between."""
    fewer = rows < values.shape[0] or columns < values.shape[1]
    mode = cv2.INTER_AREA if fewer else cv2.INTER_LINEAR
    resized: Any = cv2.resize(values, (columns, rows), interpolation=mode)
    return resized


def resampling(
    path: object,
    size: PixelSize | None,
    resample: float | str,
    model: str,
    wanted: Range | None,
    tile: int | None,
) -> Resampling | None:
    """How to bring an image to a size of a pixel; None where it has it already.

    Args:
        path: What to call the image.
        size: Its pixels on the ground; None where it does not say.
        resample: Metres, or :data:`MODELS_OWN`.
        model: What to call the model.
        wanted: Smallest and largest size of a pixel that the model is for; None where nobody said.
        tile: The only height and width that the model takes; None for any.

    Raises:
        UserError: if the image or the model does not say what is needed.
    """
    if size is None:
        raise UserError(
            f'{path} is not georeferenced, so the size of its pixels on the ground is unknown: leave out --resample'
        )
    if resample == MODELS_OWN:
        if wanted is None:
            raise UserError(
                f'{model} does not say which ground resolution it is for: give a size in metres, as --resample 0.5'
            )
        low, high = wanted
        metres = min(max(size.mean, low), high)
    else:
        low = high = metres = float(resample)
    if low / NEAR <= min(size) and max(size) <= high * NEAR:
        return None
    return Resampling(metres / size.down, metres / size.across, metres, tile)
