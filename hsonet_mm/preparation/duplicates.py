"""Find images of the same ground: copies that were flipped, rotated, brightened or slightly cropped.

A difference hash of each image (is a cell brighter than its neighbour?) in its eight orientations finds
candidates; the correlation of the details of two small grey versions confirms them. The broad brightness is
taken out before, because fields and forests agree in it without being the same. All limits are our choice,
set on public aerial images.

Not found for certain: copies cropped by more than a tenth, and tiles that overlap in part only. Splitting by
scene is the cure for those.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ['THUMB', 'Duplicate', 'find_duplicates', 'thumbnail']

THUMB = 72
"""Side of the grey version of an image that is kept for comparing, pixels."""

_CELLS = 9
_MAX_DISTANCE = 44  # of 144 bits; images that have nothing in common differ in about 72
_MIN_CORRELATION = (
    0.65  # a compromise: copies cropped at random reach down to 0.4, rows of like roofs up to 0.86
)
_MIN_DETAIL = 1.0  # standard deviation of the details in grey levels; below there is nothing to recognise
_SCALES = (1.0, 0.95, 0.9, 0.85, 0.8)
_ORIENTATIONS = range(8)


@dataclass(frozen=True)
class Duplicate:
    """Two images, by their index, that show the same ground: differing bits of 144, and correlation of the details."""

    first: int
    second: int
    distance: int
    correlation: float


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Small grey version of an image, used to recognise it: (H, W, 3) uint8 RGB to (72, 72), whatever its sides."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA)


def find_duplicates(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray] | None = None, max_distance: int = _MAX_DISTANCE
) -> list[Duplicate]:
    """Find pairs of thumbnails of two splits, or within one, that show the same ground.

    Hashes that differ in more than ``max_distance`` of their 144 bits are no candidates; lower is faster and finds
    fewer of the cropped copies. Returns one entry for each pair of indices, in ascending order; within one split only
    with ``first < second``.
    """
    if not len(first) or (second is not None and not len(second)):
        return []
    left = np.stack(first)
    right = left if second is None else np.stack(second)
    found: dict[tuple[int, int], Duplicate] = {}
    for i, j, orientation, distance in _candidates(left, right, max_distance):
        if second is None and i >= j:
            continue
        if (i, j) not in found:
            correlation = _correlation(_orient(left[i], orientation), right[j])
            if correlation >= _MIN_CORRELATION:
                found[i, j] = Duplicate(i, j, distance, round(correlation, 3))
    return [found[key] for key in sorted(found)]


def _orient(arrays: np.ndarray, orientation: int) -> np.ndarray:
    """Turn the last two axes by one of the eight symmetries of the square."""
    turned = np.rot90(arrays, orientation % 4, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if orientation >= 4 else turned)


def _hash(cells: np.ndarray) -> np.ndarray:
    """Difference hash as +1 / -1: a matrix product counts equal bits. Shapes: (N, 9, 9) to (N, 144)."""
    across, down = np.diff(cells, axis=2) > 0, np.diff(cells, axis=1) > 0
    bits = np.concatenate([across.reshape(len(cells), -1), down.reshape(len(cells), -1)], axis=1)
    return np.where(bits, np.float32(1), np.float32(-1))


def _candidates(
    left: np.ndarray, right: np.ndarray, max_distance: int, chunk: int = 1024
) -> list[tuple[int, int, int, int]]:
    """Index pairs with similar hashes, as (i, j, orientation of i, distance), the closest first."""
    step = THUMB // _CELLS
    left_cells, right_cells = (
        thumbs.reshape(len(thumbs), _CELLS, step, _CELLS, step).mean((2, 4)) for thumbs in (left, right)
    )
    detailed_left, detailed_right = (
        np.flatnonzero([_details(thumb).std() >= _MIN_DETAIL for thumb in thumbs]) for thumbs in (left, right)
    )
    if not len(detailed_left) or not len(detailed_right):
        return []
    hashes = _hash(right_cells[detailed_right])
    found = []
    for orientation in _ORIENTATIONS:
        oriented = _hash(_orient(left_cells[detailed_left], orientation))
        for begin in range(0, len(oriented), chunk):
            distance = (hashes.shape[1] - oriented[begin : begin + chunk] @ hashes.T) / 2
            for i, j in np.argwhere(distance <= max_distance):
                pair = (int(detailed_left[begin + i]), int(detailed_right[j]))
                found.append((*pair, orientation, int(distance[i, j])))
    return sorted(found, key=lambda candidate: candidate[3])


def _details(thumb: np.ndarray) -> np.ndarray:
    """Subtract the broad brightness. Shapes: (72, 72) to (72, 72) float32."""
    values = thumb.astype(np.float32)
    return values - cv2.GaussianBlur(values, (0, 0), 4)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of the details at the best fit, one image being perhaps a crop of the other."""
    best = -1.0
    for inner, outer in ((first, second), (second, first)):
        field = _details(outer)
        for scale in _SCALES:
            side = round(THUMB * scale)
            part = (
                inner[4:-4, 4:-4]
                if scale == 1
                else cv2.resize(inner, (side, side), interpolation=cv2.INTER_AREA)
            )
            fit = cv2.matchTemplate(field, _details(part), cv2.TM_CCOEFF_NORMED)
            best = max(best, float(fit.max()))
    return best
