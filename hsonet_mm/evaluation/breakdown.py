"""Errors of a prediction by object size and by distance to the outline, for any data set.

Nothing but the label is needed, unlike for the hard cases of :mod:`hsonet_mm.evaluation.hard_case_metric`,
whose result comes as the same :class:`Group`. The groups and their limits are our own choice.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hsonet_mm.labels import IGNORED

__all__ = ['FOUND', 'RINGS', 'SIZES', 'Group', 'breakdown', 'regions', 'sum_groups']

FOUND = 0.5
"""A changed object counts as found if at least this share of its pixels is predicted as changed."""
SIZES = {'<100': 0, '100-399': 100, '400-1599': 400, '1600-6399': 1600, '>=6400': 6400}
"""Groups of objects, and the smallest area of each in pixels."""
RINGS = {'0-1': 0, '2-3': 2, '4-7': 4, '8-15': 8, '>=16': 16}
"""Groups of pixels, and the smallest distance of each to the other class, in pixels.

The distance is Euclidean, from the centre of a pixel to the centre of the nearest pixel of the other class.
Ring ``a-b`` holds ``a <= distance < b + 1``. Direct neighbours are at distance 1 and diagonal ones at 1.41, so
ring ``0-1`` is the line of pixels along the boundary, on either side of it.
"""


@dataclass(frozen=True)
class Group:
    """The result of a prediction on one group of objects or pixels.

    Groups of the same kind, name and side add up, over images or over data sets. The counts of objects and hits, which
    are those found (changed) or with a false alarm (unchanged), are None where pixels alone are counted.
    """

    kind: str
    group: str
    changed: bool
    objects: int | None
    pixels: int
    called: int
    hits: int | None

    @property
    def key(self) -> tuple[str, str, bool]:
        """Kind, name and side, which identify a group."""
        return self.kind, self.group, self.changed

    @property
    def pixel_rate(self) -> float:
        """Share of the pixels predicted as changed: recall, or the false-alarm rate; 0 without pixels."""
        return self.called / self.pixels if self.pixels else 0.0

    @property
    def object_rate(self) -> float | None:
        """Share of the objects found, or with a false alarm; 0 without objects, None if objects are not counted."""
        if self.objects is None or self.hits is None:
            return None
        return self.hits / self.objects if self.objects else 0.0

    def __add__(self, other: 'Group') -> 'Group':
        assert self.key == other.key, f'{self.key} and {other.key}'
        return Group(
            *self.key,
            objects=_add(self.objects, other.objects),
            pixels=self.pixels + other.pixels,
            called=self.called + other.called,
            hits=_add(self.hits, other.hits),
        )


def _add(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def breakdown(pred: NDArray[np.bool_], label: NDArray[np.uint8]) -> list[Group]:
    """Break the result on one image down by object size and by distance to the label's boundary.

    By size, an object is a connected region (8 neighbours) of the label's changed pixels, found if at least
    FOUND of them are predicted as changed. A false alarm is a connected region predicted as changed without a changed
    pixel; its group is ``changed=False``, and by definition all its pixels are predicted as changed and all such
    objects are hits. Pixels predicted as changed around an object belong to no group by size.

    By distance, every pixel is in one group of its side, see RINGS, so that the groups sum up to the confusion
    matrix. On an image of one class all pixels are at a distance of ``>=16``.

    Ignored pixels are in no group: they part regions that touch through them alone, and distances are measured
    across them to the nearest pixel that is labelled with the other class.

    Both maps are (H, W), the label is 0 unchanged, 1 changed, 255 ignored.

    Returns:
        All groups, empty ones too, in this order: ``size`` changed and unchanged, ``boundary`` changed and
        unchanged, each from small to large.
    """
    assert pred.shape == label.shape, f'{pred.shape} and {label.shape}'
    assert pred.dtype == np.bool_, pred.dtype
    changed, unchanged = label == 1, label == 0
    assert (changed | unchanged | (label == IGNORED)).all(), np.unique(label)
    objects, areas = regions(changed)
    called = np.bincount(objects[pred], minlength=len(areas) + 1)[1:]
    blobs, extents = regions(pred & (label != IGNORED))
    alarms = extents[np.bincount(blobs[changed], minlength=len(extents) + 1)[1:] == 0]
    return [
        *_by_size(True, areas, called),
        *_by_size(False, alarms, alarms),
        *_by_distance(True, changed, unchanged, pred),
        *_by_distance(False, unchanged, changed, pred),
    ]


def regions(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The connected regions of a mask (8 neighbours), numbered from 1, and the pixels of each, (regions,)."""
    number, numbered = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return np.asarray(numbered, np.int32), np.bincount(numbered[mask], minlength=number)[1:]


def _by_size(changed: bool, areas: NDArray[np.int64], called: NDArray[np.int64]) -> list[Group]:
    """Group regions by their areas."""
    size = np.searchsorted(list(SIZES.values()), areas, side='right') - 1
    hits = called / areas >= FOUND
    groups = []
    for index, name in enumerate(SIZES):
        mine = size == index
        sums = (int(values[mine].sum()) for values in (areas, called, hits))
        groups.append(Group('size', name, changed, int(mine.sum()), *sums))
    return groups


def _by_distance(
    changed: bool, side: NDArray[np.bool_], other: NDArray[np.bool_], pred: NDArray[np.bool_]
) -> list[Group]:
    """Group the pixels of one side of the boundary by their distance to the other side."""
    if other.any():
        distances = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        ring = np.searchsorted(list(RINGS.values()), distances[side], side='right') - 1
    else:
        ring = np.full(np.count_nonzero(side), len(RINGS) - 1)
    pixels = np.bincount(ring, minlength=len(RINGS))
    called = np.bincount(ring[pred[side]], minlength=len(RINGS))
    return [
        Group('boundary', name, changed, None, int(pixels[index]), int(called[index]), None)
        for index, name in enumerate(RINGS)
    ]


def sum_groups(images: Iterable[Iterable[Group]]) -> list[Group]:
    """Add up the groups of several images: one for each kind, name and side, in the order of their first appearance."""
    sums: dict[tuple[str, str, bool], Group] = {}
    for groups in images:
        for group in groups:
            sums[group.key] = sums[group.key] + group if group.key in sums else group
    return list(sums.values())
