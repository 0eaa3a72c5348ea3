"""Is the difference of two methods decided? A paired bootstrap over the test images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ['LEVEL', 'RESAMPLES', 'Comparison', 'Counts', 'common_images', 'mean_f1', 'paired_bootstrap']

RESAMPLES = 10_000
LEVEL = 0.95
CHUNK = 1000
"""Resamples that are evaluated at once, for the sake of memory."""

Counts = Mapping[int, Mapping[str, tuple[int, int, int]]]
"""Pixels tp, fp and fn of every image of every seed: ``counts[seed][image]``."""


@dataclass(frozen=True)
class Comparison:
    """The difference of F1 between a method and the reference.

    Attributes:
        difference: F1 of the method minus F1 of the reference on the images that both were scored on.
        low: Lower end of the 95 % interval; NaN with fewer than two images.
        high: Its upper end.
        share_above: Share of the resamples in which the method is strictly better.
        images: Number of images.
    """

    difference: float
    low: float
    high: float
    share_above: float
    images: int

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the interval leaves out 0, else ``not decided``."""
        if self.low > 0:
            return 'better'
        return 'worse' if self.high < 0 else 'not decided'

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.verdict != 'not decided'


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
        table = [[one[image] for image in images] for _, one in sorted(counts.items())]
        return np.array(table, np.int64).reshape(len(counts), len(images), 3)

    return stack(method), stack(reference), images


def mean_f1(sums: NDArray[Any]) -> NDArray[np.float64]:
    """F1 of summed counts, averaged over seeds; 0 where nothing is labelled or predicted as changed.

    Args:
        sums: tp, fp and fn.

    Shapes:
        ``sums``: (..., seeds, 3). Returns (...).
    """
    tp, fp, fn = np.moveaxis(sums, -1, 0)
    cells = 2 * tp + fp + fn
    f1: NDArray[np.float64] = np.divide(2 * tp, cells, out=np.zeros(cells.shape), where=cells > 0)
    mean: NDArray[np.float64] = f1.mean(-1)
    return mean


def paired_bootstrap(
    method: NDArray[np.int64],
    reference: NDArray[np.int64],
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Comparison:
    r"""Interval of the difference of F1, by resampling the test images.

    A resample draws N of the N images with replacement, the same for both methods and for all their seeds. With
    :math:`w_i` for how often image i was drawn, a seed scores

    .. math:: F_1(w) = \frac{2\sum_i w_i TP_i}{\sum_i w_i (2 TP_i + FP_i + FN_i)}

    which is the F1 of the table (over all pixels of the set, not a mean over images). The F1s of a method's
    seeds are averaged, the difference of the two averages is taken, and the interval runs between its
    percentiles over all resamples.

    What the interval covers: that other images of the same kind could have been in the test set, for these very
    trained weights. What it does not cover: another training (the standard deviation over seeds is shown beside
    it for that; few seeds tell it badly), other data sets, and the dependence between images of one scene, for
    which it is too narrow. Few images (under 30, say) also make a percentile interval too narrow. Nor is it
    corrected for the number of methods that are compared.

    Args:
        method: Pixels tp, fp, fn of every image, as of :func:`common_images`.
        reference: The same of the reference.
        resamples: How many; 10,000 put the ends within a few hundredths of the interval's width.
        level: Of the interval, in (0, 1).
        seed: Of the resampling; one seed gives one answer on every machine.

    Shapes:
        ``method``: (seeds, N, 3). ``reference``: (seeds of the reference, N, 3).

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
        sums = (weights @ table).reshape(len(weights), len(both), 3)
        return mean_f1(sums[:, : len(method)]) - mean_f1(sums[:, len(method) :])

    observed = float(difference(np.ones((1, images)))[0]) if images else math.nan
    if images < 2:
        return Comparison(observed, math.nan, math.nan, math.nan, images)
    weights = _weights(images, resamples, seed)
    spread = np.concatenate(
        [difference(weights[start : start + CHUNK].astype(float)) for start in range(0, resamples, CHUNK)]
    )
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    return Comparison(observed, float(low), float(high), float((spread > 0).mean()), images)


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
