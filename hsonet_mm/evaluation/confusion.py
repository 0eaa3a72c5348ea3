"""Metrics of class "changed" from pixel counts.

Everything is computed from integer counts over the whole data set, never from means over images, because that
is what the literature on change detection reports and because counts add up: batches, tiles and processes.

Conventions where a figure is 0 / 0 (as scikit-learn with ``zero_division=0``): precision is 0 when nothing is
predicted as changed, recall is 0 when nothing is labelled as changed, F1 and IoU are 0 when both hold, OA is
0 without pixels. Cohen's kappa is 0 / 0 when label and prediction lie wholly in one class; scikit-learn then
returns NaN, here it is 0.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

__all__ = ['BINS', 'Confusion', 'Sweep', 'confusion', 'histograms', 'sweep']

BINS = 1024
"""Bins of the probability histograms: a power of two, so that every bin edge is exact in floating point."""


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


@dataclass(frozen=True)
class Confusion:
    """Pixel counts of a binary comparison; "positive" is class "changed".

    Attributes:
        tp: Changed pixels found.
        fp: Unchanged pixels predicted as changed.
        fn: Changed pixels missed.
        tn: Unchanged pixels predicted as unchanged.

    Example:
        >>> counts = Confusion(tp=6, fp=2, fn=4, tn=88)
        >>> counts.precision, counts.recall, round(counts.f1, 3), round((counts + counts).iou, 3)
        (0.75, 0.6, 0.667, 0.5)
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: 'Confusion') -> 'Confusion':
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def total(self) -> int:
        """All counted pixels."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def precision(self) -> float:
        """Share of the pixels predicted as changed that are changed, in [0, 1]."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the changed pixels that are found, in [0, 1]."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """Intersection over union of class changed, in [0, 1]."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def oa(self) -> float:
        """Overall accuracy: share of the pixels that are correct, in [0, 1]."""
        return _ratio(self.tp + self.tn, self.total)

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance, in [-1, 1]."""
        numerator = 2 * (self.tp * self.tn - self.fp * self.fn)
        denominator = (self.tp + self.fp) * (self.fp + self.tn) + (self.tp + self.fn) * (self.fn + self.tn)
        return _ratio(numerator, denominator)

    def metrics(self) -> dict[str, float]:
        """All metrics by name, in the order of the tables."""
        names = ('precision', 'recall', 'f1', 'iou', 'oa', 'kappa')
        return {name: getattr(self, name) for name in names}

    def counts(self) -> dict[str, int]:
        """The four counts by name."""
        return asdict(self)


def confusion(pred: Tensor, target: Tensor, ignore_index: int = 255) -> Confusion:
    """Compare two class maps.

    Args:
        pred: Predicted classes, 0 unchanged and 1 changed.
        target: Labels, 0 unchanged, 1 changed and ``ignore_index``.
        ignore_index: Label of the pixels that do not count.

    Shapes:
        ``pred`` and ``target``: equal, any.

    Example:
        >>> confusion(torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 0, 255]))
        Confusion(tp=1, fp=1, fn=0, tn=1)
    """
    assert pred.shape == target.shape, f'{tuple(pred.shape)} and {tuple(target.shape)}'
    valid = target != ignore_index
    cells = 2 * target[valid].long() + pred[valid].long()
    tn, fp, fn, tp = torch.bincount(cells, minlength=4).tolist()
    return Confusion(tp=tp, fp=fp, fn=fn, tn=tn)


def histograms(probs: Tensor, target: Tensor, ignore_index: int = 255) -> tuple[Tensor, Tensor]:
    """Count probabilities of change in ``BINS`` bins, separately for changed and for unchanged pixels.

    Bin k holds ``k / BINS < p <= (k + 1) / BINS`` (bin 0 also p = 0), so that the sum from bin k on is the
    number of pixels with ``p > k / BINS``: exactly those that are predicted as changed at the threshold ``k / BINS``.

    Args:
        probs: Probability of change in [0, 1].
        target: Labels, 0 unchanged, 1 changed and ``ignore_index``.
        ignore_index: Label of the pixels that do not count.

    Shapes:
        ``probs`` and ``target``: equal, any. Returns two int64 tensors (BINS,) on the CPU, "changed" first.
    """
    assert probs.shape == target.shape, f'{tuple(probs.shape)} and {tuple(target.shape)}'
    valid = target != ignore_index
    bins = (probs[valid].float() * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    changed = target[valid] == 1
    return (
        torch.bincount(bins[changed], minlength=BINS).cpu(),
        torch.bincount(bins[~changed], minlength=BINS).cpu(),
    )


@dataclass(frozen=True)
class Sweep:
    """Counts at every threshold ``k / BINS``, k = 1 ... BINS - 1, ascending.

    Attributes:
        thresholds: The thresholds; a pixel is changed where ``p > threshold``.
        confusions: The counts at each threshold.
    """

    thresholds: tuple[float, ...]
    confusions: tuple[Confusion, ...]

    @property
    def points(self) -> list[tuple[float, Confusion]]:
        """Every threshold with its counts."""
        return list(zip(self.thresholds, self.confusions, strict=True))

    @property
    def best(self) -> tuple[float, Confusion]:
        """The threshold of the highest F1, the nearest to 0.5 among equals, and its counts."""
        return max(self.points, key=lambda point: (point[1].f1, -abs(point[0] - 0.5)))


def sweep(hist_pos: Tensor, hist_neg: Tensor) -> Sweep:
    """Turn two histograms into the counts at every threshold: the precision-recall curve.

    Args:
        hist_pos: Histogram of the changed pixels, from :func:`histograms`, or the sum of several images'.
        hist_neg: Histogram of the unchanged pixels.

    Shapes:
        ``hist_pos`` and ``hist_neg``: (BINS,).

    Example:
        >>> probs, target = torch.tensor([0.9, 0.7, 0.4, 0.1]), torch.tensor([1, 1, 1, 0])
        >>> threshold, counts = sweep(*histograms(probs, target)).best
        >>> 0.1 < threshold < 0.4, counts.f1
        (True, 1.0)
    """
    assert hist_pos.shape == hist_neg.shape == (BINS,), f'{tuple(hist_pos.shape)} and {tuple(hist_neg.shape)}'

    def above(histogram: Tensor) -> list[int]:
        return histogram.long().flip(0).cumsum(0).flip(0).tolist()

    tps, fps = above(hist_pos), above(hist_neg)
    return Sweep(
        thresholds=tuple(k / BINS for k in range(1, BINS)),
        confusions=tuple(
            Confusion(tp=tps[k], fp=fps[k], fn=tps[0] - tps[k], tn=fps[0] - fps[k]) for k in range(1, BINS)
        ),
    )
