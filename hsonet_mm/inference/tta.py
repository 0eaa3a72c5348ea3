"""Test-time augmentation: the mean probability over mirrored, turned and swapped views."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError

__all__ = ['KINDS', 'augmented_probs', 'check_tta']

KINDS = ('flips', 'rotations', 'swap')
"""Left-right and up-down; by 90, 180 and 270 degrees; the two dates."""


def check_tta(kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds of test-time augmentation that are asked for.

    Raises:
        UserError: for another one than :data:`KINDS`.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f'invalid tta {kinds!r}: expected a list of some of {", ".join(KINDS)}')
    return tuple(kinds)


def augmented_probs(
    predict: Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]],
    t1: NDArray[np.uint8],
    t2: NDArray[np.uint8],
    kinds: Sequence[str] = (),
) -> NDArray[np.float32]:
    """Mean of the probabilities over all views of a batch, each brought back to its place.

    Probabilities are averaged, not what is behind them, so that it is right for heads of one channel and of two.

    Args:
        predict: Gives the probabilities, (N, H, W), of two dates.
        t1: Images of the first date, (N, H, W, bands).
        t2: Images of the second date.
        kinds: Which of :data:`KINDS`; every combination of those given is a view: 4 by flips, 4 by rotations, 8 by
            both, twice as many with swap.
    """
    views = _views(kinds)
    total = np.zeros(t1.shape[:3], np.float32)
    for (turns, mirror), swap in product(views, (False, True) if 'swap' in kinds else (False,)):
        images = (t2, t1) if swap else (t1, t2)
        first, second = (_turn(image, turns, mirror) for image in images)
        probs = predict(first, second)
        if mirror:
            probs = probs[:, :, ::-1]
        total += np.rot90(probs, -turns, axes=(1, 2))
    return total / np.float32(len(views) * (2 if 'swap' in kinds else 1))


def _views(kinds: Sequence[str]) -> list[tuple[int, bool]]:
    """Quarter turns and whether mirrored after them."""
    if 'rotations' in kinds:
        return list(product(range(4), (False, True) if 'flips' in kinds else (False,)))
    return list(product((0, 2), (False, True))) if 'flips' in kinds else [(0, False)]


def _turn(images: NDArray[np.uint8], turns: int, mirror: bool) -> NDArray[np.uint8]:
    turned = np.rot90(images, turns, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirror else turned)
