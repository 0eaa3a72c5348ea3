"""Change labels: their coding is declared or inferred for a whole data set, and applies to every file.

``labels.json`` in the root of a data set, which check and prepare write, declares it. Without that file and without
options, all labels of all splits are read once to infer it. Each must follow the coding of the majority, so that none
is misread silently.
"""

from hsonet_mm.errors import UserError
from hsonet_mm.labels.coding import IGNORED, LabelCoding, classes_of
from hsonet_mm.labels.raw import RawLabel, raw_label
from hsonet_mm.labels.record import (
    CODING_FILE,
    Figures,
    LabelSurvey,
    label_remarks,
    read_survey,
    write_survey,
)
from hsonet_mm.labels.survey import survey_labels
from hsonet_mm.labels.values import Value, add_label_arguments, parse_value, parse_values, value_text

__all__ = [
    'CODING_FILE',
    'IGNORED',
    'Figures',
    'LabelCoding',
    'LabelSurvey',
    'RawLabel',
    'Value',
    'add_label_arguments',
    'classes_of',
    'label_remarks',
    'no_label',
    'parse_value',
    'parse_values',
    'raw_label',
    'read_survey',
    'survey_labels',
    'value_text',
    'write_survey',
]


def no_label(image: str) -> UserError:
    """The error for an image without a required label."""
    return UserError(
        f'{image} has no label: give seg_map_path in data_prefix and load it with '
        'hsonet_mm.MultiImgLoadAnnotations, or use hsonet predict'
    )
