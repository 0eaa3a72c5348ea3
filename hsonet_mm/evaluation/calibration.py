"""Calibration of probabilities: reliability, expected calibration error, temperature scaling.

A pixel that a model calls changed with probability 0.7 should be changed in 7 of 10 cases. Everything here is
computed from counts in narrow bins of the logit, which add up over images and make a fit a matter of milliseconds. The
figures are about class "changed": all pixels are binned by its probability, so that the many clearly unchanged ones
make the error small; compare it within one data set only.

Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hsonet_mm.evaluation.confusion import BINS, Sweep, sweep
from hsonet_mm.logits import LOGIT_LIMIT, logits_of

__all__ = ['LogitCounts', 'Reliability', 'fit_temperature', 'reliability']

_FINE_BINS = 1 << 14
RELIABILITY_BINS = 15
TEMPERATURES = (0.1, 10.0)
"""Where the temperature is looked for; a fit at one of these ends means that there is too little to learn from."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


class LogitCounts:
    """Changed and unchanged pixels in narrow bins of the logit of their probability.

    Attributes:
        counts: Unchanged and changed pixels, (2, bins).
        logits: The middles of the bins.
    """

    def __init__(self) -> None:
        self.counts: Counts = np.zeros((2, _FINE_BINS), np.int64)
        edges = np.linspace(-LOGIT_LIMIT, LOGIT_LIMIT, _FINE_BINS + 1)
        self.logits: Floats = (edges[1:] + edges[:-1]) / 2

    def add(self, probs: NDArray[np.float32], target: NDArray[np.uint8], ignore_index: int = 255) -> None:
        """Count the pixels of an image: probabilities of change, and labels 0, 1 and ``ignore_index``, of one shape."""
        valid = target != ignore_index
        logits = logits_of(probs[valid].astype(np.float64))
        scaled = (logits + LOGIT_LIMIT) * (_FINE_BINS / (2 * LOGIT_LIMIT))
        bins = scaled.astype(np.int64).clip(0, _FINE_BINS - 1)
        changed = target[valid] == 1
        self.counts += np.stack([np.bincount(bins[changed == one], minlength=_FINE_BINS) for one in (0, 1)])

    def probs(self, temperature: float = 1.0) -> Floats:
        """Calibrated probability at the middle of every bin."""
        return 1 / (1 + np.exp(-self.logits / temperature))

    def loss(self, temperature: float) -> float:
        """Mean negative log-likelihood of the labels, in nats."""
        scaled = self.logits / temperature
        losses = np.logaddexp(0, np.stack([scaled, -scaled]))
        return float((self.counts * losses).sum() / self.counts.sum())

    def sweep(self, temperature: float) -> Sweep:
        """Counts at every threshold on the calibrated probability."""
        bins = (np.ceil(self.probs(temperature) * BINS).astype(np.int64) - 1).clip(0, BINS - 1)
        unchanged, changed = (np.bincount(bins, one, minlength=BINS).astype(np.int64) for one in self.counts)
        return sweep(torch.from_numpy(changed), torch.from_numpy(unchanged))


@dataclass(frozen=True)
class Reliability:
    """Mean probability, share of changed pixels and number of pixels in equal bins of the predicted probability."""

    confidence: Floats
    frequency: Floats
    pixels: Counts

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of the two over the pixels, in [0, 1]."""
        gaps = abs(self.confidence - self.frequency) * self.pixels
        return float(gaps.sum() / self.pixels.sum())


def reliability(
    probs: Floats, unchanged: Counts, changed: Counts, bins: int = RELIABILITY_BINS
) -> Reliability:
    """Compare probabilities of change with observed frequencies.

    For each of the K probabilities there are the numbers of unchanged and of changed pixels that have it. The equal
    bins are open below and closed above; the first one holds 0 as well.
    """
    index = (np.ceil(probs * bins).astype(np.int64) - 1).clip(0, bins - 1)
    totals = unchanged + changed
    pixels = np.bincount(index, totals, minlength=bins)
    share = 1 / np.maximum(pixels, 1)
    return Reliability(
        confidence=np.bincount(index, totals * probs, minlength=bins) * share,
        frequency=np.bincount(index, changed, minlength=bins) * share,
        pixels=pixels.astype(np.int64),
    )


def fit_temperature(counts: LogitCounts) -> float:
    """The temperature of the highest likelihood, to six digits.

    The loss is convex in 1 / T, so it has one minimum.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda x: counts.loss(math.exp(x)),
        bounds=[math.log(temperature) for temperature in TEMPERATURES],
        method='bounded',
        options={'xatol': 1e-7},
    )
    return math.exp(found.x)
