"""Figures, JSON and text table of the objects that a test has counted, see :mod:`hsonet_mm.evaluation.objects`."""

from typing import Any

import numpy as np

from hsonet_mm.evaluation.hard_cases import CASES
from hsonet_mm.evaluation.objects import (
    ALL,
    GROUPS,
    LADDER,
    MATCHED,
    MIN_AREA,
    ObjectCounts,
    average_precision,
)

__all__ = [
    'PRECISION',
    'decision_at_precision',
    'ladder_ap',
    'object_metrics',
    'object_report',
    'object_table',
]

PRECISION = 0.8
"""Groups are compared where all objects together have this precision: models differ in their operating points."""


def ladder_ap(counts: ObjectCounts, group: int = ALL) -> float:
    """Average precision over the last decisions, those of the ladder."""
    rungs = slice(-len(LADDER), None)
    found, alarms = counts.found[group, rungs], counts.alarms[group, rungs]
    return float(average_precision(counts.labelled[group], found, alarms))


def decision_at_precision(counts: ObjectCounts) -> int | None:
    """The threshold of the ladder that finds most at a precision of at least PRECISION, as an index in the decisions.

    None where no threshold reaches that precision.
    """
    decisions = range(counts.found.shape[1] - len(LADDER), counts.found.shape[1])
    reached = [one for one in decisions if counts.confusion(one).precision >= PRECISION]
    return max(reached, key=lambda one: counts.confusion(one).recall, default=None)


def object_metrics(counts: ObjectCounts) -> dict[str, float]:
    """Precision, recall and F1 of all objects at the first decision, and average precision over the ladder.

    Args:
        counts: At one decision or more, and behind them at the thresholds of the ladder.
    """
    names = ('precision', 'recall', 'f1')
    at_first = counts.confusion(0)
    return {**{name: getattr(at_first, name) for name in names}, 'ap': ladder_ap(counts)}


def object_report(counts: ObjectCounts) -> dict[str, Any]:
    """All figures for the JSON file: in total, by group, and at every threshold of the ladder.

    Args:
        counts: As of :func:`object_metrics`.
    """
    sharp = decision_at_precision(counts)
    groups = []
    for index, (kind, name) in enumerate(GROUPS):
        if index != ALL and (counts.labelled[index] or counts.alarms[index, 0]):
            one = counts.confusion(0, index)
            groups.append(
                {
                    'kind': kind,
                    'group': name,
                    **_numbers(counts, index),
                    'recall': one.recall,
                    'recall_at_precision': None if sharp is None else counts.confusion(sharp, index).recall,
                    **(
                        {'precision': one.precision, 'ap': ladder_ap(counts, index)} if kind == 'size' else {}
                    ),
                }
            )
    first = counts.found.shape[1] - len(LADDER)
    curve = [(threshold, counts.confusion(first + rung)) for rung, threshold in enumerate(LADDER)]
    return {
        **object_metrics(counts),
        **_numbers(counts, ALL),
        'matched_above_iou': MATCHED,
        'min_area': MIN_AREA,
        'at_precision': PRECISION,
        'recall_at_precision': None if sharp is None else counts.confusion(sharp).recall,
        'groups': groups,
        'curve': [
            {'threshold': t, 'precision': c.precision, 'recall': c.recall, 'f1': c.f1} for t, c in curve
        ],
    }


def object_table(report: dict[str, Any]) -> str:
    """Lay out the result as a text table, all objects first.

    Args:
        report: From :func:`object_report`.
    """
    heads = f'{"objects":<20} {"labelled":>8} {"found":>8} {"alarms":>8} {"P":>8} {"R":>8} {"AP":>8} {"R at P":>8}'
    rows = [{'kind': 'all', 'group': 'all', **report}, *report['groups']]
    lines = []
    for row in rows:
        name = f'{row["group"]} px' if row['kind'] == 'size' else row['group']
        changed = row['kind'] != 'hard_case' or CASES[row['group']].changed
        shares = (row.get('precision'), row['recall'], row.get('ap'), row['recall_at_precision'])
        cells = [f'{"-" if one is None or not changed else f"{one:.4f}":>8}' for one in shares]
        numbers = f'{row["labelled"]:>8,} {row["found"]:>8,} {row["false_alarms"]:>8,}'
        lines.append(f'{name:<20} {numbers} {" ".join(cells)}')
    note = (
        f'objects match where their IoU exceeds {MATCHED:g}; AP: over thresholds; R at P: recall where all objects '
        f'together reach a precision of {PRECISION:g}'
    )
    return '\n'.join([heads, *lines, note])


def _numbers(counts: ObjectCounts, group: int) -> dict[str, int]:
    names = ('labelled', 'found', 'false_alarms')
    values = (counts.labelled[group], counts.found[group, 0], counts.alarms[group, 0])
    return dict(zip(names, np.array(values).tolist(), strict=True))
