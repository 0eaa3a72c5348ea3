"""Objects: matching against a slow search, average precision against its definition and scikit-learn."""

import cv2
import numpy as np
import pytest
from helpers import regions

from hsonet_mm.evaluation.breakdown import SIZES
from hsonet_mm.evaluation.hard_cases import CASES, HARD_CASES
from hsonet_mm.evaluation.object_report import object_metrics, object_report
from hsonet_mm.evaluation.objects import KINDS, MIN_AREA, SCORES, average_precision, join, match_objects

sklearn = pytest.importorskip('sklearn.metrics')

pytestmark = pytest.mark.any_host


def pixels(mask):
    """Row and column of what is set."""
    return zip(*np.nonzero(mask), strict=True)


def slow(label, pred, probs, kinds=None):
    """Labelled, score and group of every object, by comparing every region with every other one."""
    labelled = [region for region in regions(pixels(label == 1)) if len(region) >= 8]
    tiny = {pixel for region in regions(pixels(label == 1)) if len(region) < 8 for pixel in region}
    mask = np.array(pred) & (label != 255)
    for pixel in tiny:
        mask[pixel] = False
    predicted = [region for region in regions(pixels(mask)) if len(region) >= 8]
    rows = []

    def add(labelled, region, partner):
        size = max((limit, name) for name, limit in SIZES.items() if limit <= len(region))[1]
        kind = None
        if kinds is not None:
            covered = [kinds[pixel] for pixel in region]
            kind = max(CASES, key=covered.count)  # the first of equals
        score = None if partner is None else round(100 * float(np.mean([probs[pixel] for pixel in partner])))
        rows.append((labelled, score, size, kind))

    def alike(one, other):
        return len(one & other) / len(one | other) > 0.5

    for region in labelled:
        add(True, region, next((other for other in predicted if alike(region, other)), None))
    for region in predicted:
        if not any(alike(region, other) for other in labelled):
            add(False, region, region)
    return sorted(rows, key=str)


def listed(objects):
    """Objects as the slow search lists them."""
    names = list(SIZES)
    rows = []
    for labelled, score, area, kind in zip(
        objects.labelled, objects.score, objects.area, objects.kind, strict=True
    ):
        size = names[sum(limit <= area for limit in SIZES.values()) - 1]
        rows.append(
            (bool(labelled), None if score < 0 else int(score), size, None if kind < 0 else KINDS[kind])
        )
    return sorted(rows, key=str)


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
    probs = rng.random(shape).astype(np.float32)
    expected = slow(label, pred, probs)
    assert listed(match_objects(pred, probs, label)) == expected
    assert len({(labelled, score is None) for labelled, score, _, _ in expected}) > 1


@pytest.mark.parametrize('seed', range(4))
def test_kinds_equal_a_slow_search(seed):
    rng = np.random.default_rng(seed)
    label = blobs(rng, (50, 60), 0.2).astype(np.uint8)
    pred = (np.roll(label, (1, 2), (0, 1)) == 1) | blobs(rng, (50, 60), 0.05)
    probs = rng.random(label.shape).astype(np.float32)
    changed = [name for name, case in HARD_CASES.items() if case.changed]
    ids = np.where(label, rng.integers(1, 3, label.shape), np.repeat([[0, 3]], 30, 1)).astype(np.uint16)
    names = {1: changed[0], 2: changed[1], 3: 'vehicle'}
    expected = slow(label, pred, probs, np.vectorize({0: 'background', **names}.get)(ids))
    assert listed(match_objects(pred, probs, label, (ids, names))) == expected
    assert len({kind for _, _, _, kind in expected}) > 1


def boxes(shape, *corners):
    """A mask of rectangles, each (top, left, bottom, right)."""
    mask = np.zeros(shape, bool)
    for top, left, bottom, right in corners:
        mask[top:bottom, left:right] = True
    return mask


def all_of(label, pred, **more):
    """Labelled objects, how many are found, and false alarms."""
    label = np.asarray(label, np.uint8)
    counts = match_objects(pred, np.ones(label.shape, np.float32), label, **more).confusion()
    return counts.tp + counts.fn, counts.tp, counts.fp


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


def test_predicted_specks_match_nothing():
    label = boxes((8, 8), (2, 2, 4, 6))
    speck = label.copy()
    speck[2, 2] = False
    assert label.sum() == MIN_AREA
    assert all_of(label, label) == (1, 1, 0)
    assert all_of(label, speck) == (1, 0, 0)


def test_ignored_pixels_part_regions_and_hide_what_is_predicted():
    label = boxes((10, 20), (2, 2, 8, 18)).astype(np.uint8)
    label[:, 9:11] = 255
    whole = boxes((10, 20), (2, 2, 8, 18))
    assert all_of(label, whole) == (2, 2, 0)
    for other in (whole | (label == 255), whole & (label != 255)):
        assert all_of(label, other) == (2, 2, 0)
    label[label == 255] = 9
    assert all_of(label, whole, ignore_index=9) == (2, 2, 0)


def spread_out(changed, probs):
    """Squares of 100 pixels far from each other, each with a probability; the objects at threshold 0.3."""
    label, image = np.zeros((20, 20 * len(probs)), np.uint8), np.zeros((20, 20 * len(probs)), np.float32)
    for index, (one, p) in enumerate(zip(changed, probs, strict=True)):
        label[5:15, 20 * index + 5 : 20 * index + 15] = one
        image[5:15, 20 * index + 5 : 20 * index + 15] = p
    return match_objects(image > 0.3, image, label)


@pytest.mark.parametrize('seed', range(10))
def test_average_precision_equals_scikit_learn(seed):
    """That of scikit-learn ranks what is predicted, so that its recall ends at 1: ours ends at that of the objects."""
    rng = np.random.default_rng(seed)
    changed = rng.random(40) < 0.5
    probs = rng.integers(0, 101, 40) / 100
    predicted = probs > 0.3
    share = (changed & predicted).sum() / changed.sum()
    expected = share * sklearn.average_precision_score(changed[predicted], probs[predicted])
    assert spread_out(changed, probs).average_precision() == pytest.approx(expected, abs=1e-12)
    assert 0 < expected < share < 1


def test_average_precision_by_hand():
    # by falling score: found, false alarm and found at one score, missed
    objects = spread_out([1, 0, 1, 1], [0.9, 0.6, 0.6, 0.2])
    assert objects.average_precision() == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert spread_out([1, 0, 1], [1, 0, 1]).average_precision() == 1
    assert spread_out([1, 0, 1], [0, 1, 0]).average_precision() == 0
    assert spread_out([0, 0], [0.5, 0.9]).average_precision() == 0
    many = (
        np.stack([objects.found(), 2 * objects.found()]),
        np.stack([objects.alarms(), 2 * objects.alarms()]),
    )
    np.testing.assert_allclose(average_precision(np.array([3, 6]), *many), objects.average_precision())
    assert many[0].shape == (2, SCORES)


def test_images_add_up():
    """Two images count as one large one, with a gap between, in any order."""
    rng = np.random.default_rng(3)
    images = []
    for _ in range(2):
        label = blobs(rng, (40, 40), 0.2).astype(np.uint8)
        images.append((np.roll(label, 1, 0) == 1, rng.random((40, 40)).astype(np.float32), label))
    parts = [match_objects(*image) for image in images]
    whole = match_objects(
        *(np.concatenate([a, np.zeros((40, 1), a.dtype), b], 1) for a, b in zip(*images, strict=True))
    )
    assert listed(join(parts)) == listed(whole)
    assert object_report(join(parts)) == object_report(join(parts[::-1])) == object_report(whole)
    assert len(whole) > len(parts[0]) > 3
    assert len(join([])) == 0
    assert object_metrics(join([])) == dict.fromkeys(object_metrics(whole), 0)
