"""The record of a data set's labels: coding, statistics and warnings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hsonet_mm.errors import UserError
from hsonet_mm.labels.coding import LabelCoding
from hsonet_mm.labels.values import Value, parse_values

__all__ = ['CODING_FILE', 'Figures', 'LabelSurvey', 'label_remarks', 'read_survey', 'write_survey']

CODING_FILE = 'labels.json'
"""Where it is written down, below the root of the data set."""


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
        """Return the survey if all labels follow the coding, else raise an error."""
        if self.problems:
            first = next(iter(self.problems.values()))
            more = len(self.problems) - 1
            raise UserError(f'{first}; {more} more labels do not fit either' if more else first)
        return self


def label_remarks(splits: Mapping[str, Figures]) -> dict[str, tuple[str, str]]:
    """Warnings about the labels of each split (``''`` without splits), each as a keyword and a sentence."""
    remarks = {}
    for split, figures in splits.items():
        place = f'{split}: ' if split else ''
        if not figures.changed:
            remarks[split] = ('no change', f'{place}no mask has a changed pixel: check the masks')
        elif figures.changed_share > 0.5:
            message = 'more than half of its pixels are changed: check that 0 means unchanged in the masks'
            cure = f'or name what means changed by --changed-values ({CODING_FILE} keeps it)'
            remarks[split] = ('mostly changed', f'{place}{message}, {cure}')
    return remarks


def write_survey(survey: LabelSurvey) -> dict[str, Any]:
    """The content of :data:`CODING_FILE`."""
    coding = survey.coding

    def listed(values: Sequence[Value] | None) -> list[Any] | None:
        return None if values is None else [list(one) if isinstance(one, tuple) else one for one in values]

    return {
        'format': 1,
        'changed_values': listed(coding.changed),
        'unchanged_values': listed(coding.unchanged),
        'ignored_values': listed(coding.ignored),
        'lossy': coding.lossy,
        'splits': {split: figures._asdict() for split, figures in survey.splits.items()},
    }


def read_survey(data: bytes, path: str) -> LabelSurvey:
    """Read the output of :func:`write_survey`; ``path`` is the name of the file in messages."""
    try:
        content = json.loads(data)
        if content['format'] != 1:
            raise ValueError(f'format {content["format"]}')
        unchanged = content['unchanged_values']
        coding = LabelCoding(
            parse_values(content['changed_values']),
            None if unchanged is None else parse_values(unchanged),
            parse_values(content['ignored_values']),
            bool(content['lossy']),
            path,
        )
        return LabelSurvey(
            coding, {split: Figures(**figures) for split, figures in content['splits'].items()}
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f'{path} does not describe the coding of the labels ({error}): remove it and run hsonet check '
            'to write it again'
        ) from None
