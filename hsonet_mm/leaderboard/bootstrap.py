"""How much a difference of F1 owes to the choice of the test images: a paired bootstrap over them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.evaluation.confusion import Confusion

__all__ = ['RESAMPLES', 'Counts', 'common_images', 'f1_of', 'paired_bootstrap']

RESAMPLES = 10_000
CHUNK = 1000
"""Resamples that are evaluated at once, for the sake of memory."""

Counts = Mapping[int, Mapping[str, Confusion]]
"""Pixels of every image of every seed: ``counts[seed][image]``."""


def common_images(
    method: Counts, reference: Counts
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Line up the images that every seed of both methods was scored on.

    Args:
        method: Counts of the method.
        reference: Counts of the reference; its seeds need not be the same.

    Shapes:
        Returns (seeds of the method, N, 3), (seeds of the reference, N, 3), and N names in sorted order.
    """
    seeds = [*method.values(), *reference.values()]
    images = tuple(sorted(set.intersection(*(set(one) for one in seeds)))) if seeds else ()

    def stack(counts: Counts) -> NDArray[np.int64]:
        table = [
            [(one[image].tp, one[image].fp, one[image].fn) for image in images]
            for _, one in sorted(counts.items())
        ]
        return np.array(table, np.int64).reshape(len(counts), len(images), 3)

    return stack(method), stack(reference), images


def f1_of(sums: NDArray[Any]) -> NDArray[np.float64]:
    """F1 of summed counts; 0 where nothing is labelled or predicted as changed.

    Args:
        sums: tp, fp and fn.

    Shapes:
        ``sums``: (..., 3). Returns (...).
    """
    tp, fp, fn = np.moveaxis(sums, -1, 0)
    cells = 2 * tp + fp + fn
    f1: NDArray[np.float64] = np.divide(2 * tp, cells, out=np.zeros(cells.shape), where=cells > 0)
    return f1


def paired_bootstrap(
    method: NDArray[np.int64], reference: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    r"""Differences of F1 between two methods on resampled test images.

    A resample draws N of the N images with replacement, the same for both methods and for all their seeds. With
    :math:`w_i` for how often image i was drawn, a seed scores

    .. math:: F_1(w) = \frac{2\sum_i w_i TP_i}{\sum_i w_i (2 TP_i + FP_i + FN_i)}

    which is the F1 of the table (over all pixels of the set, not a mean over images). The F1s of a method's
    seeds are averaged, and the difference of the two averages is taken.

    What the percentiles over all resamples cover: that other images of the same kind could have been in the test
    set, for these very trained weights. What they do not cover: another training, other data sets, and the
    dependence between images of one scene, for which they lie too close. So they do with few images (under 30,
    say).

    Args:
        method: Pixels tp, fp, fn of every image, as of :func:`common_images`.
        reference: The same of the reference.
        resamples: How many; 10,000 put the ends of a 95 % interval within a few hundredths of its width.
        seed: Of the resampling; one seed gives one answer on every machine.

    Shapes:
        ``method``: (seeds, N, 3), N >= 1. ``reference``: (seeds of the reference, N, 3). Returns (resamples,).

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    assert method.shape[1:] == reference.shape[1:], f'{method.shape} and {reference.shape}'
    images = method.shape[1]
    both = np.concatenate([method, reference]).astype(float)
    table = both.transpose(1, 0, 2).reshape(
        images, 3 * len(both)
    )  # sums of whole numbers: exact in any order

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        f1 = f1_of((weights @ table).reshape(len(weights), len(both), 3))
        gap: NDArray[np.float64] = f1[:, : len(method)].mean(-1) - f1[:, len(method) :].mean(-1)
        return gap

    weights = _weights(images, resamples, seed)
    return np.concatenate(
        [difference(weights[start : start + CHUNK].astype(float)) for start in range(0, resamples, CHUNK)]
    )


@lru_cache(maxsize=4)
def _weights(images: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """How often every image is drawn in every resample, (resamples, images): rows add up to ``images``."""
    generator = np.random.default_rng(seed)
    share = np.full(images, 1 / images)
    chunks = (min(CHUNK, resamples - start) for start in range(0, resamples, CHUNK))
    weights = np.concatenate(
        [generator.multinomial(images, share, size).astype(np.uint16) for size in chunks]
    )
    weights.setflags(write=False)
    return weights
