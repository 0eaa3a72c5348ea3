r"""Objects of a prediction matched to labelled objects, at one threshold or at many.

Pixels say how much area is right; objects say how many changes are found. An object is a connected region (8
neighbours) of the label's changed pixels, or of the pixels that are called changed.

- A predicted object matches a labelled one where their intersection over union exceeds 0.5. Regions of one map do not
  overlap, so each object has at most one such partner, and no assignment has to be chosen (Kirillov et al., *Panoptic
  Segmentation*, CVPR 2019). A labelled object with a partner is found, a predicted one without is a false alarm.
- Regions of fewer than 8 pixels are not objects: labelled ones count as ignored, predicted ones are dropped [choice].
- Ignored pixels belong to no object of either map: regions that touch through them alone are parted, and what is
  predicted there changes nothing.
- What the border of an image cuts off is an object like any other. A data set of tiles therefore counts a building that
  two tiles share twice: do not compare figures of whole images with figures of images cut before.

Precision, recall and F1 follow from the counts as for pixels. Average precision (AP) is the area below the precisions
and recalls that some threshold reaches,

.. math:: AP = \int_0^1 \max \{P_t : R_t \ge r\} \, dr

over the thresholds t of a ladder [choice]. A detector ranks boxes by a score; a map of probabilities has no boxes
before a threshold is set, and at another threshold objects merge, split and change their outline. Every point of this
curve is a decision that a user can take, no score of an object has to be invented, and a finer ladder can only raise
the figure.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hsonet_mm.evaluation.breakdown import SIZES
from hsonet_mm.evaluation.confusion import BINS, Confusion
from hsonet_mm.evaluation.hard_cases import BACKGROUND, CASES

__all__ = [
    'ALL',
    'GROUPS',
    'LADDER',
    'MATCHED',
    'MIN_AREA',
    'LabelledObjects',
    'ObjectCounts',
    'average_precision',
    'count_objects',
]

MATCHED = 0.5
"""Two objects match where their intersection over union exceeds this value."""
MIN_AREA = 8
"""Regions of fewer pixels are no objects."""
LADDER = tuple(round(BINS / (1 + math.exp(-logit / 2))) / BINS for logit in range(-9, 10))
"""Thresholds of average precision: 19 of them, half a unit of the logit apart, from 0.011 to 0.989."""
GROUPS = (('all', 'all'), *(('size', name) for name in SIZES), *(('hard_case', name) for name in CASES))
"""Kind and name of the groups that objects are counted in.

By ``size``, a labelled object is in the group of its area, and a false alarm in that of its own. By ``hard_case``,
where objects are typed, a labelled object is in the group of the kind that most of its pixels belong to, and a false
alarm in that of the kind that it covers most of, ``background`` included.
"""
ALL = GROUPS.index(('all', 'all'))

Ints = NDArray[np.int64]
Whole = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ObjectCounts:
    """Objects of one or more images in every group of GROUPS, at T decisions; images add up.

    Attributes:
        labelled: Labelled objects.
        found: Those that a predicted object matches.
        alarms: Predicted objects that match none.

    Shapes:
        ``labelled``: (groups,). ``found`` and ``alarms``: (groups, T).
    """

    labelled: NDArray[np.int32]
    found: NDArray[np.int32]
    alarms: NDArray[np.int32]

    def __add__(self, other: 'ObjectCounts') -> 'ObjectCounts':
        return ObjectCounts(
            self.labelled + other.labelled, self.found + other.found, self.alarms + other.alarms
        )

    def confusion(self, decision: int, group: int = ALL) -> Confusion:
        """Objects found, false alarms and missed ones at one decision, for precision, recall and F1."""
        found, alarms = int(self.found[group, decision]), int(self.alarms[group, decision])
        return Confusion(tp=found, fp=alarms, fn=int(self.labelled[group]) - found)


def average_precision(labelled: Whole, found: Whole, alarms: Whole) -> NDArray[np.float64]:
    """Area below the precisions and recalls that some threshold reaches; 0 where nothing is labelled.

    Args:
        labelled: Number of labelled objects.
        found: How many of them are found at every threshold.
        alarms: False alarms at every threshold.

    Shapes:
        ``labelled``: (...). ``found`` and ``alarms``: (..., T), T >= 1. Returns (...).
    """
    recall = found / np.maximum(labelled, 1)[..., None]
    precision = found / np.maximum(found + alarms, 1)
    order = np.argsort(-recall, axis=-1)
    recall = np.take_along_axis(recall, order, -1)
    reached = np.maximum.accumulate(np.take_along_axis(precision, order, -1), axis=-1)
    steps = -np.diff(recall, axis=-1, append=0.0)
    area: NDArray[np.float64] = (steps * reached).sum(-1)
    return area


class LabelledObjects:
    """The objects of one label.

    Args:
        label: 0 unchanged, 1 changed, and ``ignore_index``.
        typed: Instance map, 0 where no object is, and the kind of every object by its id.
        ignore_index: Label of the pixels that do not count.

    Attributes:
        regions: Number of the object that a pixel belongs to, 0 where none is.
        areas: Pixels of every object.
        counted: Where objects may be predicted: neither ignored nor in a labelled region that is too small.
        kinds: Index in GROUPS of the kind that every pixel belongs to; None without types.

    Shapes:
        ``label``, ``regions``, ``counted``, ``kinds``: (H, W). ``areas``: (objects,).
    """

    def __init__(
        self,
        label: NDArray[np.uint8],
        typed: tuple[Whole, dict[int, str]] | None = None,
        ignore_index: int = 255,
    ) -> None:
        number, regions = cv2.connectedComponents((label == 1).astype(np.uint8), connectivity=8)
        areas = np.bincount(regions.ravel(), minlength=number)[1:]
        kept = areas >= MIN_AREA
        renumbered = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
        self.regions = renumbered[regions]
        self.areas = areas[kept]
        self.counted = (label != ignore_index) & ((regions == 0) | (self.regions > 0))
        self.kinds: NDArray[np.int64] | None = None
        if typed is not None:
            ids, kinds = typed
            names = [BACKGROUND] * (max(kinds, default=0) + 1)
            for number, kind in kinds.items():
                names[number] = kind
            self.kinds = np.array([GROUPS.index(('hard_case', name)) for name in names])[ids]

    def groups(self) -> NDArray[np.bool_]:
        """Which groups every object is in, (groups, objects)."""
        member = _by_area(self.areas)
        if self.kinds is not None:
            changed = [
                index
                for index, (kind, name) in enumerate(GROUPS)
                if kind == 'hard_case' and CASES[name].changed
            ]
            inside = (self.regions > 0) & np.isin(self.kinds, changed)
            member |= _by_kind(self.regions[inside], self.kinds[inside], len(self.areas))
        return member

    def match(self, pred: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Match the objects of a prediction.

        Args:
            pred: True where a pixel is called changed, (H, W).

        Returns:
            Whether every labelled object is found, (objects,), and which groups every false alarm is in, (groups,
            false alarms).
        """
        mask = pred & self.counted
        inside = np.flatnonzero(mask)
        number, regions = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        predicted, labelled = regions.ravel()[inside], self.regions.ravel()[inside]
        areas = np.bincount(predicted, minlength=number)[1:]
        both = labelled > 0
        pairs, common = np.unique(
            predicted[both].astype(np.int64) * (len(self.areas) + 1) + labelled[both], return_counts=True
        )
        ours, theirs = pairs // (len(self.areas) + 1) - 1, pairs % (len(self.areas) + 1) - 1
        union = areas[ours] + self.areas[theirs] - common
        match = (common > MATCHED * union) & (areas[ours] >= MIN_AREA)
        found = np.zeros(len(self.areas), bool)
        found[theirs[match]] = True
        alarm = areas >= MIN_AREA
        alarm[ours[match]] = False
        member = _by_area(areas)
        if self.kinds is not None:
            member |= _by_kind(predicted, self.kinds.ravel()[inside], len(areas))
        return found, member[:, alarm]


def count_objects(truth: LabelledObjects, preds: Iterable[NDArray[np.bool_]]) -> ObjectCounts:
    """Count the objects of one image at one or more decisions.

    Args:
        truth: The labelled objects.
        preds: True where a pixel is called changed, (H, W) each.
    """
    member = truth.groups().astype(np.int32)
    found, alarms = zip(*(truth.match(pred) for pred in preds), strict=True)
    return ObjectCounts(
        labelled=member.sum(1, dtype=np.int32),
        found=np.stack([member @ one for one in found], 1).astype(np.int32),
        alarms=np.stack([one.sum(1) for one in alarms], 1).astype(np.int32),
    )


def _by_area(areas: Ints) -> NDArray[np.bool_]:
    """Membership of regions in the groups of all objects and of their size, (groups, regions)."""
    member = np.zeros((len(GROUPS), len(areas)), bool)
    member[ALL] = True
    first = GROUPS.index(('size', next(iter(SIZES))))
    member[first + np.searchsorted(list(SIZES.values()), areas, side='right') - 1, np.arange(len(areas))] = (
        True
    )
    return member


def _by_kind(regions: NDArray[np.int32], kinds: Ints, number: int) -> NDArray[np.bool_]:
    """Membership of regions in the group of the kind that most of their pixels have, (groups, regions).

    Args:
        regions: Region of every pixel, from 1.
        kinds: Kind of every pixel, as an index in GROUPS.
        number: Number of the regions.
    """
    size = len(GROUPS)
    pixels = np.bincount(kinds + size * (regions.astype(np.int64) - 1), minlength=size * number)
    pixels = pixels.reshape(number, size)
    member = np.zeros((size, number), bool)
    member[pixels.argmax(1), np.arange(number)] = pixels.any(1)
    return member
