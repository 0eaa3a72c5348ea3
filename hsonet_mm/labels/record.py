"""The label coding of a data set, recorded beside it."""

import json
from collections.abc import Sequence
from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.labels.coding import LabelCoding
from hsonet_mm.labels.figures import Figures, LabelSurvey
from hsonet_mm.labels.values import Value, parse_values

__all__ = ['CODING_FILE', 'read_survey', 'write_survey']

CODING_FILE = 'labels.json'
"""Where it is written down, below the root of the data set."""


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
    """Read the output of :func:`write_survey`; ``path`` is what messages call it."""
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
