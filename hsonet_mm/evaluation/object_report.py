"""Scores of matched objects, as JSON and as a text table, see :mod:`hsonet_mm.evaluation.objects`."""

from typing import Any

from hsonet_mm.evaluation.breakdown import Group
from hsonet_mm.evaluation.hard_cases import CASES
from hsonet_mm.evaluation.objects import MATCHED, MIN_AREA, Objects

__all__ = [
    'PRECISION',
    'object_groups',
    'object_metrics',
    'object_report',
    'object_table',
    'score_at_precision',
]

PRECISION = 0.8
"""Groups are compared where all objects together have this precision: models differ in their operating points."""


def score_at_precision(objects: Objects) -> int | None:
    """The lowest score in percent from which on the precision of all objects is at least PRECISION.

    None where no score reaches that precision.
    """
    hits, alarms = (counts[::-1].cumsum()[::-1] for counts in (objects.found(), objects.alarms()))
    scores = [score for score, hit in enumerate(hits) if hit and hit >= PRECISION * (hit + alarms[score])]
    return min(scores, default=None)


def object_metrics(objects: Objects) -> dict[str, float]:
    """Precision, recall, F1 and average precision of all objects, as ``object_precision`` and so on."""
    counts = objects.confusion()
    return {
        'object_precision': counts.precision,
        'object_recall': counts.recall,
        'object_f1': counts.f1,
        'object_ap': objects.average_precision(),
    }


def object_report(objects: Objects) -> dict[str, Any]:
    """All scores for the JSON file, in total and by group.

    A figure is None where it says nothing: precision and average precision by hard case, because a false alarm belongs
    to no kind of change, and recall where objects of that kind are not changes.
    """
    lowest = score_at_precision(objects)
    groups = [
        {'kind': kind, 'group': name, **_figures(some, kind, kind == 'size' or CASES[name].changed, lowest)}
        for kind, name, some in objects.groups()
        if len(some)
    ]
    return {
        **_figures(objects, 'all', True, lowest),
        'matched_above_iou': MATCHED,
        'min_area': MIN_AREA,
        'at_precision': PRECISION,
        'lowest_score_at_precision': None if lowest is None else lowest / 100,
        'groups': groups,
    }


def _figures(objects: Objects, kind: str, changed: bool, lowest: int | None) -> dict[str, Any]:
    """Counts and scores of one group."""
    counts, ranked = objects.confusion(), kind != 'hard_case'
    sharp = None if lowest is None else objects.confusion(lowest).recall
    return {
        'labelled': counts.tp + counts.fn,
        'found': counts.tp,
        'false_alarms': counts.fp,
        'precision': counts.precision if ranked else None,
        'recall': counts.recall if changed else None,
        'f1': counts.f1 if ranked else None,
        'ap': objects.average_precision() if ranked else None,
        'recall_at_precision': sharp if changed else None,
    }


def object_groups(objects: Objects) -> list[Group]:
    """Sum up the objects as groups of a breakdown, without pixel counts.

    Returns:
        By size and hard case, empty groups too: ``matched_<kind>`` with the labelled objects found and the false
        alarms, ``precise_<kind>`` with those found where the precision of all objects is PRECISION, none if it is
        never reached.
    """
    lowest, groups = score_at_precision(objects), []
    for kind, name, some in objects.groups():
        true, false = some[some.labelled], some[~some.labelled]
        counts = some.confusion()
        precise = 0 if lowest is None else some.confusion(lowest).tp
        area = int(true.area.sum())
        groups += [
            Group(f'matched_{kind}', name, True, len(true), area, 0, counts.tp),
            Group(f'matched_{kind}', name, False, len(false), int(false.area.sum()), 0, counts.fp),
            Group(f'precise_{kind}', name, True, len(true), area, 0, precise),
        ]
    return groups


def object_table(report: dict[str, Any]) -> str:
    """Format the result as a text table, all objects first."""
    names = ('precision', 'recall', 'f1', 'ap', 'recall_at_precision')
    heads = ('labelled', 'found', 'alarms', 'P', 'R', 'F1', 'AP', f'R at P {PRECISION:g}')
    lines = [f'{"objects":<20}' + ''.join(f' {head:>10}' for head in heads)]
    for row in ({'kind': 'all', 'group': 'all', **report}, *report['groups']):
        name = f'{row["group"]} px' if row['kind'] == 'size' else row['group']
        counts = ''.join(f' {row[count]:>10,}' for count in ('labelled', 'found', 'false_alarms'))
        shares = ''.join(f' {"-" if row[one] is None else f"{row[one]:.4f}":>10}' for one in names)
        lines.append(f'{name:<20}{counts}{shares}')
    lines.append(
        f'objects match above an IoU of {MATCHED:g}; AP: ranked by mean probability; R at P {PRECISION:g}: recall '
        f'where objects of low probability are dropped until the precision of all is {PRECISION:g}'
    )
    return '\n'.join(lines)
