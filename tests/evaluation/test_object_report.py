"""Scores of matched objects: groups, figures and the table."""

import json

import numpy as np
import pytest

from hsonet_mm.evaluation.object_report import (
    PRECISION,
    object_metrics,
    object_report,
    object_table,
    score_at_precision,
)
from hsonet_mm.evaluation.objects import Objects, match_objects

pytestmark = pytest.mark.any_host


def boxes(shape, *corners):
    """A mask of rectangles, each (top, left, bottom, right)."""
    mask = np.zeros(shape, bool)
    for top, left, bottom, right in corners:
        mask[top:bottom, left:right] = True
    return mask


def counted(found, alarms, missed=0):
    """Untyped objects of 50 pixels with these scores in percent."""
    labelled = np.repeat([True, False], [len(found) + missed, len(alarms)])
    none = np.full(len(labelled), 50)
    return Objects(labelled, np.array([*found, *[-1] * missed, *alarms], int), none, none * 0 - 1)


def test_groups_are_compared_at_one_precision():
    # at 60: 3 of 4 right; at 50: 4 of 5 right, all found but one; at 40: 4 of 6
    objects = counted([90, 80, 70, 50], [60, 40], missed=1)
    assert PRECISION == 4 / 5
    assert score_at_precision(objects) == 41
    report = object_report(objects)
    assert report['recall'] == report['recall_at_precision'] == 4 / 5
    assert score_at_precision(counted([90, 80, 70, 50], [60, 55])) == 61
    assert object_report(counted([90, 80, 70, 50], [60, 55]))['recall_at_precision'] == 3 / 4
    assert score_at_precision(counted([50], [60])) is None
    assert object_report(counted([50], [60]))['recall_at_precision'] is None


def test_figures_and_table():
    objects = counted([90, 80, 70], [60], missed=1)
    assert object_metrics(objects) == {
        'object_precision': 3 / 4,
        'object_recall': 3 / 4,
        'object_f1': 3 / 4,
        'object_ap': pytest.approx(3 / 4),
    }
    report = json.loads(json.dumps(object_report(objects)))
    assert (report['labelled'], report['found'], report['false_alarms']) == (4, 3, 1)
    heads, total, small, note = object_table(report).splitlines()
    assert heads.split()[:8] == ['objects', 'labelled', 'found', 'alarms', 'P', 'R', 'F1', 'AP']
    assert total.split() == ['all', '4', '3', '1', *['0.7500'] * 5]
    assert small.split() == ['<100', 'px', *total.split()[1:]]
    assert 'above an IoU of 0.5' in note


def test_false_alarms_belong_to_no_kind_of_change():
    label = boxes((12, 40), (1, 1, 6, 6)).astype(np.uint8)
    pred = boxes((12, 40), (1, 1, 6, 6), (1, 11, 6, 16), (1, 31, 6, 36))
    ids = np.zeros(label.shape, np.uint16)
    ids[:, :10], ids[:, 10:20], ids[6:, :20] = 1, 2, 0
    objects = match_objects(pred, pred.astype(np.float32), label, (ids, {1: 'plain', 2: 'cloud'}))
    groups = {one['group']: one for one in object_report(objects)['groups']}
    assert set(groups) == {'<100', 'plain', 'cloud', 'background'}
    assert (groups['plain']['recall'], groups['plain']['precision'], groups['plain']['ap']) == (1, None, None)
    assert (groups['cloud']['false_alarms'], groups['cloud']['recall']) == (1, None)
    assert groups['background']['false_alarms'] == 1
    assert groups['<100']['precision'] == 1 / 3
