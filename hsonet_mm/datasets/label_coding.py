"""The label coding of a data set in training: declared, recorded beside the labels, or inferred."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine import fileio

from hsonet_mm.datasets.loading import MultiImgLoadAnnotations, read_label, tell_once
from hsonet_mm.labels import CODING_FILE, LabelCoding, LabelSurvey, label_remarks, read_survey, survey_labels

__all__ = ['coding_of']

_known: dict[Any, LabelSurvey] = {}
"""Surveys of this process: train and validation ask for the same one."""


def coding_of(
    root: str | None,
    labels: Mapping[str, str],
    loader: MultiImgLoadAnnotations,
    backend_args: dict | None = None,
) -> LabelCoding:
    """The label coding of a data set, from the paths and splits of all its labels; suspicious labels are logged."""
    written = None if root is None else fileio.join_path(root, CODING_FILE, backend_args=backend_args)
    declared = loader.changed_values or loader.ignored_values
    if written and not declared and fileio.exists(written, backend_args=backend_args):
        survey = read_survey(fileio.get(written, backend_args=backend_args), written)
    else:
        key = (
            loader.changed_values,
            loader.ignored_values,
            tuple((path, _stamp(path)) for path in sorted(labels)),
        )
        if key not in _known:
            _known.clear()
            _known[key] = survey_labels(
                labels,
                lambda path: read_label(path, backend_args),
                loader.changed_values,
                loader.ignored_values,
            )
        survey = _known[key].require()
        tell_once(
            f'{len(labels)} labels are coded {survey.coding}; hsonet check records this', level=logging.INFO
        )
    place = root or next(iter(labels)).rpartition('/')[0]
    for _, remark in label_remarks(survey.splits).values():
        tell_once(f'{place}: {remark}')
    if survey.coding.lossy:
        tell_once(
            f'{place}: labels contain values between 0 and 255, as after JPEG compression; they are thresholded at 128'
        )
    return survey.coding


def _stamp(path: str) -> tuple[int, int] | None:
    """What changes with a file on this machine."""
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size
