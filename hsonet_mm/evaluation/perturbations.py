"""Perturbations of image pairs, to measure the robustness of a model; NumPy only.

Each perturbation takes and gives a pair of images in BGR, (H, W, 3) of 8 bits, and its label, and depends on nothing
but them and the number of the pair. The second date alone is recoloured, so that the two differ in what is no change.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.labels import IGNORED

__all__ = ['PERTURBATIONS', 'autumn', 'recolour', 'shift']

Image = NDArray[np.uint8]
Colours = NDArray[np.floating[Any]]
Pair = tuple[Image, Image, NDArray[np.uint8]]
Perturbation = Callable[[Image, Image, NDArray[np.uint8], int], Pair]

DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""Right, down, left, up: those in which one pair after the other is shifted."""


def shift(t1: Image, t2: Image, target: NDArray[np.uint8], number: int, *, date: int, pixels: int) -> Pair:
    """Shift a date by whole pixels, to the right, down, to the left and up from pair to pair.

    The label is not shifted. Pixels whose content would come from outside the image are ignored.
    """
    down, right = (pixels * step for step in DIRECTIONS[number % len(DIRECTIONS)])
    moved = np.roll([t1, t2][date - 1], (down, right), axis=(0, 1))
    target = target.copy()
    for axis, step in ((0, down), (1, right)):
        if step:
            edge: list[slice] = [slice(None), slice(None)]
            edge[axis] = slice(0, step) if step > 0 else slice(step, None)
            target[tuple(edge)] = IGNORED
    return (moved, t2, target) if date == 1 else (t1, moved, target)


def recolour(
    t1: Image, t2: Image, target: NDArray[np.uint8], number: int, *, colours: Callable[[Colours], Colours]
) -> Pair:
    """Change the colours of the second date, (..., 3) in [0, 1], red first; results are cut to [0, 1]."""
    del number
    changed = colours(t2[..., ::-1] / 255)[..., ::-1]
    return t1, np.rint(changed.clip(0, 1) * 255).astype(np.uint8), target


def autumn(colours: Colours) -> Colours:
    """Turn green pixels brown, as leaves and lawns turn in autumn; other colours are kept.

    By its excess of green, 2 G - R - B, from 0 to 0.2, a colour turns from itself to a brown of the same luma (BT.601):
    its luma times (1.25, 0.95, 0.6), which has the luma 1.0 itself.
    """
    luma = colours @ np.array([0.299, 0.587, 0.114])
    share = ((2 * colours[..., 1] - colours[..., 0] - colours[..., 2]) / 0.2).clip(0, 1)[..., None]
    brown = luma[..., None] * np.array([1.25, 0.95, 0.6])
    turned: Colours = (1 - share) * colours + share * brown
    return turned


def _light(colours: Callable[[Colours], Colours]) -> Perturbation:
    return partial(recolour, colours=colours)


PERTURBATIONS: dict[str, Perturbation] = {
    'as they are': lambda t1, t2, target, _: (t1, t2, target),
    'dates exchanged': lambda t1, t2, target, _: (t2, t1, target),
    'date 1 shifted by 1 pixel': partial(shift, date=1, pixels=1),
    'date 1 shifted by 2 pixels': partial(shift, date=1, pixels=2),
    'date 2 shifted by 1 pixel': partial(shift, date=2, pixels=1),
    'date 2 shifted by 2 pixels': partial(shift, date=2, pixels=2),
    'date 2 brighter (gamma 0.7)': _light(lambda colours: colours**0.7),
    'date 2 darker (gamma 1.4)': _light(lambda colours: colours**1.4),
    'date 2 brighter by 25 of 255': _light(lambda colours: colours + 25 / 255),
    'date 2 with 0.7 of the contrast': _light(lambda colours: 0.5 + 0.7 * (colours - 0.5)),
    'date 2 with a warm cast': _light(lambda colours: colours * np.array([1.1, 1.0, 0.85])),
    'date 2 in autumn': _light(autumn),
}
"""Perturbations by their names in reports [choice]."""
