"""Paired bootstrap of the difference of a metric over the test images."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.evaluation.objects import SCORES, average_precision

__all__ = [
    'OBJECT_AP',
    'OBJECT_F1',
    'PIXEL_F1',
    'RESAMPLES',
    'Counts',
    'ObjectScores',
    'Statistic',
    'common_images',
    'f1_of',
    'paired_bootstrap',
]

RESAMPLES = 10_000
CHUNK = 1000
"""Resamples that are evaluated at once, for the sake of memory."""


class ObjectScores(NamedTuple):
    """The objects of one image: number of labelled ones, scores in percent of those found and of false alarms."""

    labelled: int
    found: tuple[int, ...]
    alarms: tuple[int, ...]


Counts = Mapping[int, Mapping[str, Any]]
"""Pixels (:class:`Confusion`) or objects of every image of every seed: ``counts[seed][image]``."""


class Statistic(NamedTuple):
    """A metric: the K counts of an image, and the figure of counts summed over images, (..., K) to (...)."""

    counts: Callable[[Any], Sequence[int]]
    figure: Callable[[NDArray[Any]], NDArray[np.float64]]


def common_images(
    method: Counts, reference: Counts, statistic: Statistic | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Line up the images that every seed of both methods was scored on.

    Shapes:
        Returns (seeds of the method, N, K), (seeds of the reference, N, K), and N names in sorted order.
    """
    statistic = statistic or PIXEL_F1
    seeds = [*method.values(), *reference.values()]
    images = tuple(sorted(set.intersection(*(set(one) for one in seeds)))) if seeds else ()

    def stack(counts: Counts) -> NDArray[np.int64]:
        table = [[statistic.counts(one[image]) for image in images] for _, one in sorted(counts.items())]
        return np.array(table, np.int64).reshape(len(counts), len(images), -1 if images else 0)

    return stack(method), stack(reference), images


def f1_of(sums: NDArray[Any]) -> NDArray[np.float64]:
    """F1 of summed tp, fp and fn, (..., 3) to (...); 0 where nothing is labelled or predicted as changed."""
    tp, fp, fn = np.moveaxis(sums, -1, 0)
    cells = 2 * tp + fp + fn
    f1: NDArray[np.float64] = np.divide(2 * tp, cells, out=np.zeros(cells.shape), where=cells > 0)
    return f1


def _object_counts(one: ObjectScores) -> list[int]:
    """Number of labelled objects, found ones by score, false alarms by score."""
    found, alarms = (np.bincount(np.array(scores, int), minlength=SCORES) for scores in one[1:])
    return [one.labelled, *found.tolist(), *alarms.tolist()]


def _object_f1(sums: NDArray[Any]) -> NDArray[np.float64]:
    found, alarms = sums[..., 1 : 1 + SCORES].sum(-1), sums[..., 1 + SCORES :].sum(-1)
    return f1_of(np.stack([found, alarms, sums[..., 0] - found], -1))


def _object_ap(sums: NDArray[Any]) -> NDArray[np.float64]:
    return average_precision(sums[..., 0], sums[..., 1 : 1 + SCORES], sums[..., 1 + SCORES :])


PIXEL_F1 = Statistic(lambda one: (one.tp, one.fp, one.fn), f1_of)
OBJECT_F1 = Statistic(_object_counts, _object_f1)
OBJECT_AP = Statistic(_object_counts, _object_ap)


def paired_bootstrap(
    method: NDArray[np.int64],
    reference: NDArray[np.int64],
    resamples: int = RESAMPLES,
    seed: int = 0,
    figure: Callable[[NDArray[Any]], NDArray[np.float64]] = f1_of,
) -> NDArray[np.float64]:
    r"""Differences of a metric between two methods on resampled test images.

    A resample draws N of the N images with replacement, the same for both methods and for all their seeds. With
    :math:`w_i` for how often image i was drawn, a seed scores

    .. math:: F_1(w) = \frac{2\sum_i w_i TP_i}{\sum_i w_i (2 TP_i + FP_i + FN_i)}

    which is the F1 of the table (over all pixels of the set, not a mean over images). The F1s of a method's
    seeds are averaged, and the difference of the two averages is taken.

    What the percentiles over all resamples cover: that other images of the same kind could have been in the test
    set, for these very trained weights. What they do not cover: other seeds, other data sets, and the
    dependence between images of one scene, for which they lie too close. So they do with few images (under 30,
    say).

    Args:
        method: Counts of every image, as of :func:`common_images`.
        reference: The same of the reference.
        resamples: How many; 10,000 put the ends of a 95 % interval within a few hundredths of its width.
        seed: Of the resampling; one seed gives one answer on every machine.
        figure: The figure of summed counts, as of :class:`Statistic`.

    Shapes:
        ``method``: (seeds, N, K), N >= 1. ``reference``: (seeds of the reference, N, K). Returns (resamples,).

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    assert method.shape[1:] == reference.shape[1:], f'{method.shape} and {reference.shape}'
    images = method.shape[1]
    both = np.concatenate([method, reference]).astype(float)
    table = both.transpose(1, 0, 2).reshape(images, -1)  # sums of whole numbers: exact in any order

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        scores = figure((weights @ table).reshape(len(weights), len(both), -1))
        gap: NDArray[np.float64] = scores[:, : len(method)].mean(-1) - scores[:, len(method) :].mean(-1)
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
