"""Objects: matching against a slow search, average precision against its definition and scikit-learn."""

import json

import cv2
import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from hsonet_mm.evaluation.breakdown import SIZES
from hsonet_mm.evaluation.hard_cases import CASES, HARD_CASES
from hsonet_mm.evaluation.object_report import (
    PRECISION,
    decision_at_precision,
    object_metrics,
    object_report,
    object_table,
)
from hsonet_mm.evaluation.objects import (
    ALL,
    GROUPS,
    LADDER,
    MIN_AREA,
    LabelledObjects,
    ObjectCounts,
    average_precision,
    count_objects,
)

pytestmark = pytest.mark.any_host


def flood(mask):
    """The connected regions of a mask as sets of pixels, by a search from pixel to pixel."""
    left = set(zip(*np.nonzero(mask), strict=True))
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        yield region


def slow(label, pred, kinds=None):
    """Labelled, found and false alarms by group, by comparing every region with every other one."""
    labelled = [region for region in flood(label == 1) if len(region) >= 8]
    tiny = {pixel for region in flood(label == 1) if len(region) < 8 for pixel in region}
    mask = np.array(pred) & (label != 255)
    for pixel in tiny:
        mask[pixel] = False
    predicted = [region for region in flood(mask) if len(region) >= 8]
    counts = {'labelled': {}, 'found': {}, 'alarms': {}}

    def count(name, region):
        size = max((limit, name) for name, limit in SIZES.items() if limit <= len(region))[1]
        groups = [('all', 'all'), ('size', size)]
        if kinds is not None:
            covered = [kinds[pixel] for pixel in region]
            groups.append(('hard_case', max(CASES, key=covered.count)))  # the first of equals
        for group in groups:
            counts[name][group] = counts[name].get(group, 0) + 1

    def alike(one, other):
        return len(one & other) / len(one | other) > 0.5

    for region in labelled:
        count('labelled', region)
        if any(alike(region, other) for other in predicted):
            count('found', region)
    for region in predicted:
        if not any(alike(region, other) for other in labelled):
            count('alarms', region)
    return counts


def by_group(values):
    return {group: int(value) for group, value in zip(GROUPS, values, strict=True) if value}


def blobs(rng, shape, share, blur=2.0):
    field = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), blur)
    return field > np.quantile(field, 1 - share)


@pytest.mark.parametrize('seed', range(12))
def test_equals_a_slow_search(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(30, 70, 2))
    label = blobs(rng, shape, 0.2).astype(np.uint8)
    noise = blobs(rng, shape, 0.03)
    pred = (np.roll(label, rng.integers(0, 3, 2), (0, 1)) == 1) ^ noise
    label[blobs(rng, shape, 0.05)] = 255
    counts = count_objects(LabelledObjects(label), [pred])
    expected = slow(label, pred)
    assert by_group(counts.labelled) == expected['labelled']
    assert by_group(counts.found[:, 0]) == expected['found']
    assert by_group(counts.alarms[:, 0]) == expected['alarms']
    assert counts.labelled[ALL]
    assert counts.found[ALL, 0] + counts.alarms[ALL, 0]


@pytest.mark.parametrize('seed', range(4))
def test_kinds_equal_a_slow_search(seed):
    rng = np.random.default_rng(seed)
    label = blobs(rng, (50, 60), 0.2).astype(np.uint8)
    pred = (np.roll(label, (1, 2), (0, 1)) == 1) | blobs(rng, (50, 60), 0.05)
    changed = [name for name, case in HARD_CASES.items() if case.changed]
    ids = np.where(label, rng.integers(1, 3, label.shape), np.repeat([[0, 3]], 30, 1)).astype(np.uint16)
    names = {1: changed[0], 2: changed[1], 3: 'vehicle'}
    counts = count_objects(LabelledObjects(label, (ids, names)), [pred])
    kinds = np.vectorize({0: 'background', **names}.get)(ids)
    expected = slow(label, pred, kinds)
    assert by_group(counts.labelled) == expected['labelled']
    assert by_group(counts.found[:, 0]) == expected['found']
    assert by_group(counts.alarms[:, 0]) == expected['alarms']
    assert {'vehicle', *changed[:2]} <= {name for groups in expected.values() for _, name in groups}


def boxes(shape, *corners):
    """A mask of rectangles, each (top, left, bottom, right)."""
    mask = np.zeros(shape, bool)
    for top, left, bottom, right in corners:
        mask[top:bottom, left:right] = True
    return mask


def all_of(label, pred, **more):
    counts = count_objects(LabelledObjects(np.asarray(label, np.uint8), **more), [pred])
    return int(counts.labelled[ALL]), int(counts.found[ALL, 0]), int(counts.alarms[ALL, 0])


@pytest.mark.parametrize(
    ('pred', 'expected'),
    [
        pytest.param([(2, 2, 6, 6), (2, 7, 6, 11)], (2, 2, 0), id='both'),
        pytest.param([(2, 2, 6, 11)], (2, 0, 1), id='merged into one, of 36 pixels with 16 each'),
        pytest.param([(2, 2, 6, 4), (2, 7, 6, 11)], (2, 1, 1), id='half is not more than half'),
        pytest.param([(2, 2, 5, 5), (2, 7, 6, 11)], (2, 2, 0), id='9 of 16 pixels'),
        pytest.param([(2, 2, 6, 6), (2, 7, 6, 11), (10, 2, 12, 5)], (2, 2, 0), id='6 pixels are no object'),
        pytest.param([(2, 2, 6, 6), (2, 7, 6, 11), (10, 2, 12, 6)], (2, 2, 1), id='8 pixels are one'),
        pytest.param([], (2, 0, 0), id='nothing'),
    ],
)  # fmt: skip
def test_hand_made(pred, expected):
    label = boxes((14, 14), (2, 2, 6, 6), (2, 7, 6, 11))
    assert all_of(label, boxes((14, 14), *pred)) == expected


def test_corners_connect():
    label = boxes((8, 8), (0, 0, 4, 4), (4, 4, 8, 8))
    assert all_of(label, label) == (1, 1, 0)


def test_border_cuts_objects_like_any_other():
    label = boxes((8, 16), (0, 0, 3, 3), (5, 12, 8, 16))
    assert all_of(label, label) == (2, 2, 0)


def test_labelled_specks_are_ignored():
    label = boxes((12, 12), (2, 2, 4, 5))
    assert label.sum() == MIN_AREA - 2
    assert all_of(label, boxes((12, 12), (2, 2, 5, 6))) == (0, 0, 0)  # 12 pixels, 6 of them beside the speck
    assert all_of(label, boxes((12, 12), (1, 1, 6, 6))) == (0, 0, 1)


def test_ignored_pixels_part_regions_and_hide_what_is_predicted():
    label = boxes((10, 20), (2, 2, 8, 18)).astype(np.uint8)
    label[:, 9:11] = 255
    whole = boxes((10, 20), (2, 2, 8, 18))
    assert all_of(label, whole) == (2, 2, 0)
    for other in (whole | (label == 255), whole & (label != 255)):
        assert all_of(label, other) == (2, 2, 0)
    label[label == 255] = 9
    assert all_of(label, whole, ignore_index=9) == (2, 2, 0)


def spread_out(shares, probs):
    """A label of squares far from each other, and one probability for each of them; the rest is 0."""
    label, image = np.zeros((20, 20 * len(shares)), np.uint8), np.zeros((20, 20 * len(shares)), np.float32)
    for index, (share, p) in enumerate(zip(shares, probs, strict=True)):
        label[5:15, 20 * index + 5 : 20 * index + 15] = share
        image[5:15, 20 * index + 5 : 20 * index + 15] = p
    return label, image


@pytest.mark.parametrize('seed', range(10))
def test_average_precision_equals_scikit_learn(seed):
    """Where no object changes its shape with the threshold, it is the average precision of a ranking."""
    rng = np.random.default_rng(seed)
    changed = rng.random(30) < 0.5
    steps = rng.integers(0, len(LADDER) - 1, 30)
    probs = (np.array(LADDER)[steps] + np.array(LADDER)[steps + 1]) / 2  # found down to this rung
    label, image = spread_out(changed, probs)
    counts = count_objects(LabelledObjects(label), [image > threshold for threshold in LADDER])
    ours = average_precision(counts.labelled[ALL], counts.found[ALL], counts.alarms[ALL])
    precision, recall, _ = precision_recall_curve(changed, probs)
    envelope = np.maximum.accumulate(precision)  # recall falls along the curve
    assert ours == pytest.approx(-np.sum(np.diff(recall) * envelope[:-1]), abs=1e-12)
    assert 0 < ours < 1


def test_average_precision_by_definition():
    """Recall that falls and rises again: the area below the best precision at each recall, on a fine grid."""
    rng = np.random.default_rng(0)
    labelled = np.full(50, 40)
    found, alarms = rng.integers(0, 41, (50, 19)), rng.integers(0, 30, (50, 19))
    found[0] = 0
    recall, precision = found / 40, found / np.maximum(found + alarms, 1)
    grid = (np.arange(4000) + 0.5) / 4000
    best = np.where(recall[:, None] >= grid[:, None], precision[:, None], 0).max(-1)
    np.testing.assert_allclose(average_precision(labelled, found, alarms), best.mean(-1), atol=1e-9)
    assert average_precision(np.array(0), np.zeros(3, int), np.ones(3, int)) == 0


def test_average_precision_of_extremes():
    perfect = spread_out([1, 0, 1], [1, 0, 1])
    nothing = spread_out([1, 0, 1], [0, 0, 0])
    reversed_ = spread_out([1, 0, 1], [0, 1, 0])
    for (label, image), expected in ((perfect, 1), (nothing, 0), (reversed_, 0)):
        counts = count_objects(LabelledObjects(label), [image > threshold for threshold in LADDER])
        assert average_precision(counts.labelled, counts.found, counts.alarms)[ALL] == expected


def test_ladder_holds_the_usual_threshold_and_is_even_in_the_logit():
    assert len(LADDER) == 19
    assert LADDER[9] == 0.5
    logits = np.log(LADDER) - np.log1p(-np.array(LADDER))
    np.testing.assert_allclose(np.diff(logits), 0.5, atol=0.05)


def test_images_add_up():
    """Two images count as one large one, with a gap between."""
    rng = np.random.default_rng(3)
    labels = [blobs(rng, (40, 40), 0.2).astype(np.uint8) for _ in range(2)]
    preds = [np.roll(one, 1, 0) == 1 for one in labels]
    gap = np.zeros((40, 1))
    together = np.concatenate([labels[0], gap, labels[1]], 1).astype(np.uint8)
    pred = np.concatenate([preds[0], gap, preds[1]], 1).astype(bool)
    one, two = (
        count_objects(LabelledObjects(*pair[:1]), [pair[1]]) for pair in zip(labels, preds, strict=True)
    )
    both, whole = one + two, count_objects(LabelledObjects(together), [pred])
    np.testing.assert_array_equal(both.labelled, whole.labelled)
    np.testing.assert_array_equal(both.found, whole.found)
    np.testing.assert_array_equal(both.alarms, whole.alarms)


def counted(labelled, found, alarms, size=0):
    """Counts in which all objects are of one size: first the decision, then the ladder."""
    rows = (
        np.zeros(len(GROUPS), np.int32),
        *(np.zeros((len(GROUPS), 1 + len(LADDER)), np.int32) for _ in '12'),
    )
    for group in (ALL, GROUPS.index(('size', list(SIZES)[size]))):
        for row, values in zip(rows, (labelled, found, alarms), strict=True):
            row[group] = values
    return ObjectCounts(*rows)


def test_groups_are_compared_at_one_precision():
    found = [50, *range(95, 0, -5)]
    alarms = [50, *range(90, -5, -5)]
    counts = counted(100, found, alarms)
    decision = decision_at_precision(counts)
    # found 95 - 5k of 185 - 10k called: 0.8 from k = 17.67 on
    assert decision == 1 + 18
    report = object_report(counts)
    assert report['at_precision'] == PRECISION
    assert report['recall_at_precision'] == 5 / 100
    (group,) = report['groups']
    assert (group['group'], group['recall'], group['recall_at_precision']) == ('<100', 0.5, 0.05)
    assert decision_at_precision(counted(100, 10, 90)) is None
    assert object_report(counted(100, 10, 90))['recall_at_precision'] is None


def test_figures_and_table():
    counts = counted(40, [30, *[20] * 19], [10, *[0] * 19])
    assert object_metrics(counts) == {
        'precision': 30 / 40,
        'recall': 30 / 40,
        'f1': pytest.approx(30 / 40),
        'ap': pytest.approx(20 / 40),
    }
    report = json.loads(json.dumps(object_report(counts)))
    assert (report['labelled'], report['found'], report['false_alarms']) == (40, 30, 10)
    assert [point['threshold'] for point in report['curve']] == list(LADDER)
    heads, total, small, note = object_table(report).splitlines()
    assert heads.split() == ['objects', 'labelled', 'found', 'alarms', 'P', 'R', 'AP', 'R', 'at', 'P']
    assert total.split() == ['all', '40', '30', '10', '0.7500', '0.7500', '0.5000', '0.5000']
    assert small.split() == ['<100', 'px', *total.split()[1:]]
    assert 'IoU exceeds 0.5' in note
