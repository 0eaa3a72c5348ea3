"""Statistics of the labels of a data set, and what is suspicious about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hsonet_mm.errors import UserError
from hsonet_mm.labels.coding import LabelCoding

__all__ = ['Figures', 'LabelSurvey', 'label_remarks']


class Figures(NamedTuple):
    """Statistics of the labels of a split: their number, changed pixels, and those that are changed or unchanged."""

    labels: int = 0
    changed: int = 0
    labelled: int = 0

    @property
    def changed_share(self) -> float:
        """Changed share of the labelled pixels."""
        return self.changed / self.labelled if self.labelled else 0.0


@dataclass
class LabelSurvey:
    """How the labels of a data set are coded.

    Problems are a sentence for each label that does not keep to it, by its path.
    """

    coding: LabelCoding
    splits: dict[str, Figures] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def require(self) -> 'LabelSurvey':
        """This survey, if all labels keep to the coding."""
        if self.problems:
            first = next(iter(self.problems.values()))
            more = len(self.problems) - 1
            raise UserError(f'{first}; {more} more labels do not fit either' if more else first)
        return self


def label_remarks(splits: Mapping[str, Figures]) -> dict[str, tuple[str, str]]:
    """What is suspicious about the labels of each split, ``''`` where there are none: a word for it and a sentence."""
    remarks = {}
    for split, figures in splits.items():
        place = f'{split}: ' if split else ''
        if not figures.changed:
            remarks[split] = ('no change', f'{place}no mask has a changed pixel: check the masks')
        elif figures.changed_share > 0.5:
            message = 'more than half of its pixels are changed: check that 0 means unchanged in the masks'
            remarks[split] = (
                'mostly changed',
                f'{place}{message}, or name what means changed by --changed-values',
            )
    return remarks
