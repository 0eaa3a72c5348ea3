r"""Objects of a prediction matched to labelled objects: found, missed and false alarms.

Pixels say how much area is right; objects say how many changes are found. An object is a connected region (8
neighbours) of the label's changed pixels, or of the pixels that are predicted as changed at one threshold.

- A predicted object matches a labelled one where their intersection over union exceeds 0.5. Regions of one map do not
  overlap, so each object has at most one such partner, and no assignment has to be chosen (Kirillov et al., *Panoptic
  Segmentation*, CVPR 2019). A labelled object with a partner is found, a predicted one without is a false alarm.
- Regions of fewer than 8 pixels are not objects: labelled ones count as ignored, predicted ones are dropped [choice].
- Ignored pixels belong to no object of either map: regions that touch through them alone are parted, and what is
  predicted there changes nothing.
- What the border of an image cuts off is an object like any other. A data set of tiles therefore counts a building that
  two tiles share twice: do not compare figures of whole images with figures of images cut before.

Precision, recall and F1 follow from the counts as for pixels. For average precision the predicted objects are ranked by
their score, the mean probability of their pixels [choice], as instance segmentation ranks its masks:

.. math:: AP = \sum_s (R_s - R_{s+1}) P_s

where P and R count the predicted objects that score s or more, without interpolation, as in scikit-learn. Scores are
rounded to whole percent, so that counts of images add up and no figure depends on their order. The threshold decides
which objects there are and bounds the recall: state it, and compare models at the thresholds of validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.evaluation.breakdown import SIZES, regions
from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.evaluation.hard_cases import BACKGROUND, CASES

__all__ = ['MATCHED', 'MIN_AREA', 'SCORES', 'Objects', 'average_precision', 'join', 'match_objects']

MATCHED = 0.5
"""Two objects match where their intersection over union exceeds this value."""
MIN_AREA = 8
"""Regions of fewer pixels are not objects."""
SCORES = 101
"""Number of scores: 0 to 100 percent."""
KINDS = tuple(CASES)

Whole = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Objects:
    """The objects of one or more images: labelled ones, found or not, and false alarms.

    Attributes:
        labelled: Whether it is a labelled object; else it is a false alarm.
        score: Mean probability of the predicted object in percent; -1 of a labelled object that is missed.
        area: Pixels of the labelled object, or of the false alarm.
        kind: Index in KINDS of the kind that most of these pixels belong to; -1 where objects are not typed.

    Shapes:
        All (objects,).
    """

    labelled: NDArray[np.bool_]
    score: Whole
    area: Whole
    kind: Whole

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> 'Objects':
        return Objects(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def groups(self) -> list[tuple[str, str, 'Objects']]:
        """The objects by size and, if typed, by hard case, as tuples of kind of group, name and objects.

        A false alarm is in the group of its own size, and of the kind that it covers most of,
        :data:`~hsonet_mm.evaluation.hard_cases.BACKGROUND` included. Empty groups are there too.
        """
        size = np.searchsorted(list(SIZES.values()), self.area, side='right') - 1
        groups = [('size', name, self[size == index]) for index, name in enumerate(SIZES)]
        if (self.kind >= 0).any():
            groups += [('hard_case', name, self[self.kind == index]) for index, name in enumerate(KINDS)]
        return groups

    def found(self) -> Whole:
        """Number of labelled objects found, by score, (SCORES,)."""
        return np.bincount(self.score[self.labelled & (self.score >= 0)], minlength=SCORES)

    def alarms(self) -> Whole:
        """Number of false alarms, by score, (SCORES,)."""
        return np.bincount(self.score[~self.labelled], minlength=SCORES)

    def confusion(self, lowest: int = 0) -> Confusion:
        """Counts of objects found, false alarms and missed objects, after dropping those of a lower score."""
        total, found = int(self.labelled.sum()), int(self.found()[lowest:].sum())
        return Confusion(tp=found, fp=int(self.alarms()[lowest:].sum()), fn=total - found)

    def average_precision(self) -> float:
        """Average precision in [0, 1]."""
        return float(average_precision(self.labelled.sum(), self.found(), self.alarms()))


def average_precision(labelled: Any, found: NDArray[Any], alarms: NDArray[Any]) -> NDArray[np.float64]:
    """Average precision from counts by score; 0 where nothing is labelled.

    Args:
        labelled: Number of labelled objects.
        found: Labelled objects found, by the score of their partner.
        alarms: False alarms by score.

    Shapes:
        ``labelled``: (...). ``found`` and ``alarms``: (..., SCORES), from the lowest. Returns (...).
    """
    hits = found[..., ::-1].cumsum(-1)
    predicted = hits + alarms[..., ::-1].cumsum(-1)
    precision = hits / np.maximum(predicted, 1)
    area: NDArray[np.float64] = (found[..., ::-1] * precision).sum(-1) / np.maximum(labelled, 1)
    return area


def join(images: Sequence[Objects]) -> Objects:
    """The objects of several images."""
    none = Objects(np.zeros(0, bool), *(np.zeros(0, np.int64) for _ in fields(Objects)[1:]))
    rows = ([getattr(one, field.name) for one in (none, *images)] for field in fields(Objects))
    return Objects(*map(np.concatenate, rows))


def match_objects(
    pred: NDArray[np.bool_],
    probs: NDArray[np.float32],
    label: NDArray[np.uint8],
    typed: tuple[Whole, dict[int, str]] | None = None,
    ignore_index: int = 255,
) -> Objects:
    """Match the objects of one image.

    Args:
        pred: True where a pixel is predicted as changed.
        probs: Probability of change in [0, 1].
        label: 0 unchanged, 1 changed, and ``ignore_index``.
        typed: Instance map, 0 where no object is, and the kind of every object by its id, see
            :func:`~hsonet_mm.evaluation.hard_cases.read_objects`.
        ignore_index: Label of the pixels that do not count.

    Shapes:
        ``pred``, ``probs``, ``label`` and the instance map: (H, W).

    Example:
        >>> label, probs = np.zeros((9, 20), np.uint8), np.zeros((9, 20), np.float32)
        >>> label[2:6, 2:6] = 1  # an object that is found, with one row too few
        >>> probs[3:6, 2:6] = 0.8
        >>> probs[2:6, 12:16] = 0.6  # a false alarm
        >>> objects = match_objects(probs > 0.5, probs, label)
        >>> objects.confusion()
        Confusion(tp=1, fp=1, fn=0, tn=0)
        >>> float(objects.average_precision())
        1.0
    """
    assert pred.shape == probs.shape == label.shape, f'{pred.shape}, {probs.shape} and {label.shape}'
    kinds = None if typed is None else _kind_map(*typed)
    truth, areas = regions(label == 1)
    small = np.concatenate([[False], areas < MIN_AREA])
    blobs, extents = regions(pred & (label != ignore_index) & ~small[truth])
    inside = np.flatnonzero(blobs)
    predicted, labelled = blobs.ravel()[inside], truth.ravel()[inside]
    sums = np.bincount(predicted, probs.ravel()[inside].clip(0, 1), minlength=len(extents) + 1)[1:]
    scores = np.rint(100 * sums / np.maximum(extents, 1)).astype(np.int64)

    both = labelled > 0
    pairs = predicted[both].astype(np.int64) * len(small) + labelled[both]
    pairs, common = np.unique(pairs, return_counts=True)
    ours, theirs = pairs // len(small) - 1, pairs % len(small) - 1
    match = (common > MATCHED * (extents[ours] + areas[theirs] - common)) & (extents[ours] >= MIN_AREA)
    partner = np.full(len(areas), -1)
    partner[theirs[match]] = scores[ours[match]]
    alarm = extents >= MIN_AREA
    alarm[ours[match]] = False
    kept = areas >= MIN_AREA
    return Objects(
        labelled=np.repeat([True, False], [kept.sum(), alarm.sum()]),
        score=np.concatenate([partner[kept], scores[alarm]]),
        area=np.concatenate([areas[kept], extents[alarm]]),
        kind=np.concatenate(
            [_most(truth, kinds, len(areas))[kept], _most(blobs, kinds, len(extents))[alarm]]
        ),
    )


def _kind_map(ids: Whole, kinds: dict[int, str]) -> Whole:
    """Kind of every pixel, as an index in KINDS."""
    index = np.full(max(kinds, default=0) + 1, KINDS.index(BACKGROUND))
    for number, kind in kinds.items():
        index[number] = KINDS.index(kind)
    return index[ids]


def _most(numbered: NDArray[np.int32], kinds: Whole | None, number: int) -> Whole:
    """The most frequent kind among the pixels of every region, the first among equals; -1 without kinds."""
    if kinds is None:
        return np.full(number, -1)
    inside = numbered > 0
    cells = (numbered[inside].astype(np.int64) - 1) * len(KINDS) + kinds[inside]
    pixels = np.bincount(cells, minlength=number * len(KINDS)).reshape(number, len(KINDS))
    return np.asarray(pixels.argmax(1), np.int64)
