"""Comparison of two methods by intervals over test images and over seeds."""

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hsonet_mm.leaderboard.bootstrap import (
    PIXEL_F1,
    RESAMPLES,
    Counts,
    Statistic,
    common_images,
    paired_bootstrap,
)

__all__ = ['LEVEL', 'SIGNIFICANT', 'VERDICTS', 'Comparison', 'Interval', 'compare', 'welch']

LEVEL = 0.95
IMAGES_ONLY = ' (significant over images, not over seeds)'
SIGNIFICANT = ('significantly better', 'significantly worse')
VERDICTS = (*SIGNIFICANT, *(f'{word}{IMAGES_ONLY}' for word in ('better', 'worse')), 'not significant')


class Interval(NamedTuple):
    """An interval of a difference."""

    low: float
    high: float

    @property
    def side(self) -> int:
        """1 if it lies above 0, -1 if below, else 0."""
        return (self.low > 0) - (self.high < 0)


@dataclass(frozen=True)
class Comparison:
    """The difference of a metric between a method and the reference.

    Attributes:
        difference: Figure of the method minus that of the reference, each the mean over ``seeds``, on the images that
            all of these runs were scored on; NaN without a seed or an image.
        over_images: 95 % interval for other test images, of these very runs: percentiles of a paired
            bootstrap. None with fewer than two images.
        over_seeds: 95 % interval for other seeds, on these very images: Welch's. None with fewer than two seeds, and
            where no seed differs from another.
        share_above: Share of the resamples of the images in which the method is strictly better; NaN without.
        seeds: Seeds that both were trained with, ascending; no others are compared.
    """

    difference: float
    over_images: Interval | None
    over_seeds: Interval | None
    share_above: float
    images: int
    seeds: tuple[int, ...]

    @property
    def verdict(self) -> str:
        """One of VERDICTS.

        The difference is significant if both intervals exclude 0 on the same side. If only the interval over images
        does, other seeds may reverse it: ``better`` or ``worse`` with IMAGES_ONLY. Else it is ``not significant``.
        """
        side = self.over_images.side if self.over_images else 0
        if not side:
            return 'not significant'
        word = 'better' if side > 0 else 'worse'
        significant = self.over_seeds is not None and self.over_seeds.side == side
        return f'significantly {word}' if significant else f'{word}{IMAGES_ONLY}'


def compare(
    method: Counts, reference: Counts, resamples: int = RESAMPLES, statistic: Statistic = PIXEL_F1
) -> Comparison:
    """Compare two methods on the seeds and the images that both have."""
    seeds = tuple(sorted(method.keys() & reference.keys()))
    ours, theirs, images = common_images(
        {seed: method[seed] for seed in seeds}, {seed: reference[seed] for seed in seeds}, statistic
    )
    if not images:
        return Comparison(math.nan, None, None, math.nan, 0, seeds)
    scores, base = statistic.figure(ours.sum(1)), statistic.figure(theirs.sum(1))
    over_images, share_above = None, math.nan
    if len(images) > 1:
        gaps = paired_bootstrap(ours, theirs, resamples, figure=statistic.figure)
        over_images = Interval(*np.quantile(gaps, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist())
        share_above = float((gaps > 0).mean())
    return Comparison(
        difference=float(scores.mean() - base.mean()),
        over_images=over_images,
        over_seeds=welch(scores, base) if len(seeds) > 1 else None,
        share_above=share_above,
        images=len(images),
        seeds=seeds,
    )


def welch(
    method: NDArray[np.float64], reference: NDArray[np.float64], level: float = LEVEL
) -> Interval | None:
    """Welch's t interval of the difference of two means; spreads may differ; None where no seed differs from another.

    Figures of every seed, (seeds,) and (seeds of the reference,), are of independent runs.

    References:
        Welch, The generalization of "Student's" problem when several different population variances are
        involved, Biometrika 34, 1947.
    """
    if not (np.ptp(method) or np.ptp(reference)):
        return None  # without a spread SciPy's interval is a point, which would decide everything
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # the seeds of one of the two may be alike
        found = stats.ttest_ind(method, reference, equal_var=False).confidence_interval(level)
    return Interval(float(found.low), float(found.high))
