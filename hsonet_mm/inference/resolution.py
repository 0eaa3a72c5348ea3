"""Ground resolution of images and models: warning and resampling.

Images are resampled by area means where pixels become larger and bilinearly where they become smaller; probabilities
come back bilinearly. [choice]
"""

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.images import Pixels
from hsonet_mm.windows import Axis, Window, WindowGrid

if TYPE_CHECKING:
    from hsonet_mm.images.ground import PixelSize
    from hsonet_mm.inference.detector import ChangeDetector

__all__ = [
    'MODELS_OWN',
    'Resampling',
    'check_resample',
    'dates_note',
    'pair_notes',
    'pair_resampling',
    'resampling',
    'resolution_note',
]

MODELS_OWN = 'model'
"""In place of metres: the nearest ground resolution that the model is for."""
FAR = 1.5
"""Ratio of ground resolutions, up or down, from which on there is a warning. [choice]"""
NEAR = 1.1
"""Ratio up to which images are not resampled. [choice]"""
FARTHEST = 100
"""Largest ratio of pixel sizes, up or down, that is resampled: 30 m to 0.3 m. [choice]"""
Range = tuple[float, float]


def check_resample(resample: object) -> None:
    """Check a ground resolution to resample to: metres, :data:`MODELS_OWN`, or None."""
    known = resample is None or resample == MODELS_OWN
    metres = float(resample) if isinstance(resample, Real) and not isinstance(resample, bool) else 0.0
    if not known and not 0 < metres < float('inf'):
        raise UserError(f"invalid resample {resample!r}: expected metres, '{MODELS_OWN}' or None")


def resolution_note(path: object, size: 'PixelSize', model: str, wanted: Range | None) -> str | None:
    """A sentence if the ground resolution of an image is far from the model's, else None."""
    if wanted is None or wanted[0] / FAR <= size.mean <= wanted[1] * FAR:
        return None
    return f'{path} has a ground resolution of {size.mean:.3g} m, but {model} is for {_words(wanted)}: add --resample'


def dates_note(path1: object, size1: 'PixelSize', path2: object, size2: 'PixelSize') -> str | None:
    """A sentence if the ground resolutions of two dates are far from each other, else None."""
    dates = sorted(((size1.mean, path1), (size2.mean, path2)), key=lambda date: date[0])
    (fine, finer), (coarse, coarser) = dates
    if coarse <= fine * FAR:
        return None
    return (
        f'{coarser} has a ground resolution of {coarse:.3g} m, {coarse / fine:.3g} times that of {finer} '
        f'({fine:.3g} m): detail that one date lacks looks like change'
    )


def _words(wanted: Range) -> str:
    return f'{wanted[0]:g} m' if wanted[0] == wanted[1] else f'{wanted[0]:g} to {wanted[1]:g} m'


@dataclass(frozen=True)
class Resampling:
    """Resampling of an image to the ground resolution of a model, and back.

    Attributes:
        down: Rows of the image per row of the model.
        across: Columns of the image per column of the model.
        metres: Ground resolution of the model.
        tile: The only height and width that the model takes; None for any.
    """

    down: float
    across: float
    metres: float
    tile: int | None = None

    def grid(self, window: Window, height: int, width: int) -> WindowGrid:
        """Windows over an image, each as large as the model's window is on the ground."""
        axes = []
        for length, factor in ((height, self.down), (width, self.across)):
            size, overlap = (max(1, round(pixels * factor)) for pixels in (window.size, window.overlap))
            axes.append(Axis.make(length, size, min(overlap, size - 1), window.fixed))
        return WindowGrid(*axes)

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of an image of that size after resampling."""
        if self.tile is not None:
            return self.tile, self.tile
        return max(1, round(height / self.down)), max(1, round(width / self.across))

    def there(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resample images for the model, (N, H, W, bands) to (N, h, w, bands)."""
        rows, columns = self.shape(*images.shape[1:3])
        made = np.empty((len(images), rows, columns, images.shape[3]), np.uint8)
        for image, target in zip(images, made, strict=True):
            for band in range(images.shape[3]):
                values = np.ascontiguousarray(image[..., band])
                target[..., band] = _resize(_resize(values, rows, values.shape[1]), rows, columns)
        return made

    def back(self, probs: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Resample probabilities (N, h, w) to the pixels of the images, (N, H, W)."""
        made = np.empty((len(probs), height, width), np.float32)
        for one, target in zip(probs, made, strict=True):
            cv2.resize(one, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
        return made


def _resize(values: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Resize by area means if the result is smaller, else by bilinear interpolation."""
    fewer = rows < values.shape[0] or columns < values.shape[1]
    mode = cv2.INTER_AREA if fewer else cv2.INTER_LINEAR
    resized: Any = cv2.resize(values, (columns, rows), interpolation=mode)
    return resized


def resampling(
    path: object,
    size: 'PixelSize | None',
    resample: float | str,
    model: str,
    wanted: Range | None,
    tile: int | None,
) -> Resampling | None:
    """Resampling of an image to a ground resolution; None where it needs none.

    The size of its pixels may be unknown, ``wanted`` is what the model is for, and ``tile`` the only size that it
    takes, if any.

    Raises:
        UserError: if the ground resolution of the image is unknown, or that of the model where it is asked for, or the
            two differ too much.
    """
    if size is None:
        raise UserError(
            f'{path} is not georeferenced, so its ground resolution is unknown: leave out --resample'
        )
    if resample == MODELS_OWN:
        if wanted is None:
            raise UserError(
                f'{model} does not declare a ground resolution: give one in metres, as --resample 0.5'
            )
        low, high = wanted
        metres = min(max(size.mean, low), high)
    else:
        low = high = metres = float(resample)
    if low / NEAR <= min(size) and max(size) <= high * NEAR:
        return None
    if max(metres / min(size), max(size) / metres) > FARTHEST:
        raise UserError(
            f'{path} has a ground resolution of {size.mean:.3g} m, which cannot be resampled to {metres:g} m: expected '
            f'a ratio of at most {FARTHEST}'
        )
    return Resampling(metres / size.down, metres / size.across, metres, tile)


def pair_resampling(detector: 'ChangeDetector', t1: Pixels, t2: Pixels) -> Resampling | None:
    """Resampling of a pair as its detector asks for it; None where it needs none."""
    if detector.resample is None:
        return None
    size = _pair_pixel_size(t1, t2)
    return resampling(t1.path, size, detector.resample, detector.name, detector.ground_resolution, None)


def pair_notes(detector: 'ChangeDetector', t1: Pixels, t2: Pixels) -> list[str]:
    """A sentence if the ground resolutions of the dates differ, or that of a pair not resampled from the model's."""
    sizes = _pixel_size(t1), _pixel_size(t2)
    notes = list[str | None]()
    if detector.resample is None and (size := sizes[0] or sizes[1]) is not None:
        notes.append(resolution_note(t1.path, size, detector.name, detector.ground_resolution))
    if sizes[0] is not None and sizes[1] is not None:
        notes.append(dates_note(t1.path, sizes[0], t2.path, sizes[1]))
    return [note for note in notes if note is not None]


def _pair_pixel_size(t1: Pixels, t2: Pixels) -> 'PixelSize | None':
    """The pixels of a pair on the ground, by the first date that is georeferenced."""
    date = t1 if t1.raster.place is not None else t2
    return _pixel_size(date)


def _pixel_size(date: Pixels) -> 'PixelSize | None':
    """The pixels of an image on the ground; None if it is not georeferenced."""
    if (place := date.raster.place) is None:
        return None
    from hsonet_mm.images.ground import pixel_size

    return pixel_size(place.crs, place.transform, *date.values.shape[:2])
