"""Hard cases, which make changes hard to find or unchanged ground look changed, and typed objects on disk.

The paper names shadows, occlusions, small targets, seasonal change and pseudo-changes as hard case samples
[paper]; this list, its names and its limits are our own [choice]. "Changed" means that a building appeared or
vanished.

A data set types its objects as :func:`hsonet_mm.demo.generate` does: beside ``A``, ``B`` and ``label`` of a split
a folder ``objects`` with an instance map ``<stem>.png`` and a list ``<stem>.json``.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError

__all__ = ['BACKGROUND', 'CASES', 'HARD_CASES', 'SMALL', 'HardCase', 'are_objects_typed', 'read_objects']

SMALL = 100
"""A changed object with fewer pixels than this is of kind ``small``."""

BACKGROUND = 'background'
"""Name for all pixels that belong to no typed object."""


class HardCase(NamedTuple):
    """One kind of typed object.

    Attributes:
        changed: Whether its pixels are labelled as changed.
        description: What it is, for tables and reports.
    """

    changed: bool
    description: str


HARD_CASES: dict[str, HardCase] = {
    'plain': HardCase(True, 'building that appeared or vanished, nothing hard about it'),
    'small': HardCase(True, f'changed building of less than {SMALL} pixels'),
    'occluded': HardCase(True, 'changed building partly under tree crowns or cloud'),
    'shadowed': HardCase(True, 'changed building partly in the shadow'),
    'low_contrast': HardCase(True, 'changed building whose roof resembles the ground that it replaces'),
    'occluded_unchanged': HardCase(False, 'unchanged roof that a tree grew over or uncovered'),
    'repainted_roof': HardCase(False, 'unchanged building with a new roof colour'),
    'vehicle': HardCase(False, 'car or truck that came or left'),
    'cloud': HardCase(False, 'cloud in one image'),
    'resurfacing': HardCase(False, 'repaved road or parking lot'),
    'seasonal': HardCase(False, 'field or tree crowns in another colour'),
    'moved_shadow': HardCase(False, 'ground or roof in shadow in one image only'),
    'cloud_shadow': HardCase(False, 'shadow of a cloud in one image'),
    'misregistration': HardCase(False, 'edge of an unchanged building in a pair shifted by 1-2 pixels'),
    'illumination': HardCase(False, 'the rest of a pair under very different light'),
}
"""Every kind by its name. Where objects overlap, a pixel belongs to the kind that stands first here."""

CASES = HARD_CASES | {BACKGROUND: HardCase(False, 'everything outside of typed objects')}
"""The kinds in the order of the tables: changed ones first, background last."""


def are_objects_typed(image: Path) -> bool:
    """Whether the split of a pair has a folder of typed objects."""
    return (image.parent.parent / 'objects').is_dir()


def read_objects(image: Path, shape: Sequence[int]) -> tuple[NDArray[Any], dict[int, str]]:
    """Read the typed objects of a pair.

    Args:
        image: Path of the image of date 1.
        shape: Height and width of the prediction.

    Returns:
        The instance map (H, W), 0 where no object is, and the kind of every object by its id.

    Raises:
        UserError: if the data set has no typed objects, or map, list and prediction do not fit.
    """
    path = image.parent.parent / 'objects' / f'{image.stem}.png'
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if ids is None:
        raise UserError(
            f'{path} is missing or not an image, and HardCaseMetric needs a data set with typed objects: '
            'make one with hsonet_mm.demo.generate, or leave this metric out'
        )
    try:
        listed = json.loads(path.with_suffix('.json').read_text(encoding='utf-8'))['objects']
        kinds = {int(thing['id']): str(thing['kind']) for thing in listed}
        unknown = (set(kinds.values()) - set(HARD_CASES)) | (set(np.unique(ids).tolist()) - {0} - set(kinds))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path.with_suffix(".json")} is not a list of objects ({error}): generate the data again'
        ) from None
    if unknown:
        raise UserError(
            f'{path.with_suffix(".json")} does not describe the objects {sorted(unknown)}: generate the '
            'data again'
        )
    if ids.shape != tuple(shape):
        sizes = (' x '.join(map(str, one)) for one in (ids.shape, shape))
        raise UserError(
            f'{path} is {" and the prediction ".join(sizes)}: test on whole images without resizing, or leave '
            'HardCaseMetric out and set objects=False in ChangeMetric'
        )
    return ids, kinds
