"""The label coding of a data set, inferred from all labels."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.labels.coding import CURE, IGNORED, LabelCoding, classes_of
from hsonet_mm.labels.raw import RawLabel, few_values, looks_lossy, value_counts
from hsonet_mm.labels.record import Figures, LabelSurvey
from hsonet_mm.labels.values import Value, values_told

__all__ = ['survey_labels']

_ZERO_ONE, _ZERO_255 = LabelCoding((1,)), LabelCoding((255,))


class _Seen(NamedTuple):
    """One label: its counts by value, or an error."""

    counts: NDArray[np.int64] | None
    exact: bool = True
    problem: str = ''
    hidden: bool = False  # whether the file itself leaves pixels out


def survey_labels(
    labels: Mapping[str, str],
    load: Callable[[str], RawLabel],
    changed: Sequence[Value] = (),
    ignored: Sequence[Value] = (),
) -> LabelSurvey:
    """Read all labels of a data set, and infer their coding where it is not declared.

    Without declared values, the labels are 0 and 1, or 0 and 255, whichever most are, the latter perhaps with noise of
    compression.
    """
    declared = LabelCoding(tuple(changed), None, tuple(ignored)) if changed else None
    channels = [(value, value, value) if isinstance(value, int) else value for value in ignored]
    greys = [red for red, green, blue in channels if red == green == blue and red < 256]

    def see(path: str) -> _Seen:
        try:
            label = load(path)
            if declared:
                classes = classes_of(label, declared, path)
                return _Seen(np.bincount(classes.ravel(), minlength=256))
            if label.values.ndim == 3 or label.values.dtype != np.uint8:
                return _Seen(None, problem=_unreadable(label, path))
            counts = value_counts(label)
            counts[greys] = 0
            return _Seen(counts, label.exact, hidden=label.labelled is not None)
        except UserError as error:
            return _Seen(None, problem=str(error))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        seen = dict(zip(labels, pool.map(see, labels), strict=True))
    if declared:
        return _figures(declared, seen, labels, {})
    coding, problems = _most(seen)
    survey = _figures(coding, seen, labels, problems)
    total = [sum(figures[index] for figures in survey.splits.values()) for index in (1, 2)]
    if total[0] == total[1] > 0 and (path := next((path for path, one in seen.items() if one.hidden), None)):
        survey.problems[path] = (
            f'the label {path} has data at changed pixels only, so all others count as not labelled, and no label '
            f'of the data set has an unchanged pixel: write 0 there'
        )
    survey.coding = LabelCoding(coding.changed, coding.unchanged, tuple(ignored), coding.lossy)
    return survey


def _unreadable(label: RawLabel, path: str) -> str:
    """Why the coding of a label cannot be inferred."""
    if label.values.ndim == 2:
        return (
            f'the label {path} contains values from {label.values.min()} to {label.values.max()}: write 0 for '
            f'unchanged and 1 or 255 for changed, or {CURE}'
        )
    colours, counts = np.unique(
        label.values.reshape(-1, 3)[:: max(1, label.values.size // 3_000_000)], axis=0, return_counts=True
    )
    often = [tuple(map(int, colours[index])) for index in np.argsort(-counts)[:4]]
    held = ' and '.join(','.join(map(str, colour)) for colour in often)
    return (
        f'the label {path} is a colour image, with {held}{" and more" if len(colours) > 4 else ""}: write it as a grey '
        f'image with 0 for unchanged and 1 or 255 for changed, or {CURE}, as R,G,B or names of colours'
    )


def _kind(seen: _Seen) -> str:
    """One of ``'0/1'``, ``'0/255'``, ``'noisy'``, ``'few'`` (values), ``'empty'``, ``'faint'`` and ``'other'``."""
    assert seen.counts is not None
    present = set(np.flatnonzero(seen.counts).tolist())
    if present <= {0}:
        return 'empty'
    if present <= {0, 255}:
        return '0/255'
    if present <= {0, 1} and seen.exact:
        return '0/1'
    if not looks_lossy(seen.counts, seen.exact):
        return 'other'
    if max(present) < 128:
        return 'faint'
    return 'few' if seen.exact and few_values(seen.counts) else 'noisy'


def _most(seen: Mapping[str, _Seen]) -> tuple[LabelCoding, dict[str, str]]:
    """The most frequent coding, and errors for labels with another one."""
    kinds = {path: _kind(one) for path, one in seen.items() if one.counts is not None}
    tally = Counter(kinds.values())
    # A few pixels of noise have few values, too: the other labels decide.
    few_as = 'noisy' if tally['noisy'] > tally['few'] else 'other'
    kinds = {path: few_as if kind == 'few' else kind for path, kind in kinds.items()}
    votes = Counter(
        '0/1' if kind == '0/1' else '0/255' for kind in kinds.values() if kind in ('0/1', '0/255', 'noisy')
    )
    chosen = votes.most_common(1)[0][0] if votes else '0/255'
    lossy = chosen == '0/255' and 'noisy' in kinds.values()
    coding = _ZERO_ONE if chosen == '0/1' else LabelCoding(lossy=lossy)
    example = next(
        (path for path, kind in kinds.items() if kind == chosen or (lossy and kind == 'noisy')), ''
    )
    problems = {}
    for path, kind in kinds.items():
        counts = seen[path].counts
        assert counts is not None
        if kind == 'other' or (kind == 'faint' and not votes):
            present = np.flatnonzero(counts).tolist()
            problems[path] = (
                f'the label {path} contains the values {values_told(present)}: write 0 for unchanged and 1 or 255 for '
                f'changed, the only two classes, or {CURE}'
            )
        elif kind in ('0/1', '0/255') and kind != chosen:
            problems[path] = (
                f'the label {path} is coded {kind}, but {example} and most of the data set {chosen}: rewrite it, or '
                f'give --changed-values 1 255 if both mean changed'
            )
    return coding, problems


def _figures(
    coding: LabelCoding, seen: Mapping[str, _Seen], labels: Mapping[str, str], problems: dict[str, str]
) -> LabelSurvey:
    """Statistics of every split, from the labels that follow the coding."""
    survey = LabelSurvey(coding, problems=dict(problems))
    for path, one in seen.items():
        if one.problem:
            survey.problems[path] = one.problem
        if path in survey.problems or one.counts is None:
            continue
        if coding.unchanged is None:
            counts = one.counts
        else:
            try:
                counts = _class_counts(one.counts, one.exact, coding, path)
            except UserError as error:
                survey.problems[path] = str(error)
                continue
        known = survey.splits.get(labels[path], Figures())
        changed, labelled = int(counts[1]), int(counts.sum() - counts[IGNORED])
        survey.splits[labels[path]] = Figures(
            known.labels + 1, known.changed + changed, known.labelled + labelled
        )
    survey.problems = {path: survey.problems[path] for path in labels if path in survey.problems}
    return survey


def _class_counts(
    counts: NDArray[np.int64], exact: bool, coding: LabelCoding, path: str
) -> NDArray[np.int64]:
    """How many pixels of a label are in each class, from its counts by value."""
    present = np.flatnonzero(counts).astype(np.uint8)
    if exact and not coding.lossy:  # each value counts for itself
        classes = classes_of(RawLabel(present[None]), coding, path)[0]
        return np.bincount(classes, counts[present], minlength=256).astype(np.int64)
    label = RawLabel(np.repeat(present, counts[present])[None], exact=exact)
    return np.bincount(classes_of(label, coding, path)[0], minlength=256)
