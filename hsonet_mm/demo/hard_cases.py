"""The vocabulary of hard cases: what makes a changed object hard to find, or unchanged ground look changed.

The paper names shadows, occlusions, small targets, seasonal change and pseudo-changes as hard case samples
[paper]; this list, its names and its limits are our own [choice]. "Changed" means that a building appeared or
vanished.
"""

from typing import NamedTuple

__all__ = ['BACKGROUND', 'HARD_CASES', 'SMALL', 'HardCase']

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
