"""The breakdown by object size and boundary distance, against hand-made cases and a slow count."""

import math
from collections import defaultdict
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch
from helpers import regions

from hsonet_mm.evaluation.breakdown import RINGS, SIZES, Group, breakdown, sum_groups
from hsonet_mm.evaluation.confusion import confusion

pytestmark = pytest.mark.any_host

SIDES = (True, False)
ALL = [('size', name, side) for side in SIDES for name in SIZES]
ALL += [('boundary', name, side) for side in SIDES for name in RINGS]
"""The groups in their order."""


def counts(groups):
    """Objects, pixels, called and hits by key, of the groups that are not empty."""
    found = {group.key: (group.objects, group.pixels, group.called, group.hits) for group in groups}
    return {key: values for key, values in found.items() if values[1]}


def draw(rows):
    """An image from text: ``.`` unchanged, ``#`` changed, ``?`` ignored."""
    values = np.array([0, 1, 255], np.uint8)
    return values[[['.#?'.index(sign) for sign in row] for row in rows.split()]]


def test_hand_made_sizes():
    label = draw("""
        ##....
        ##....
        ..#...
        ......
        #.....
        ?.....
        #....?
    """)
    pred = draw("""
        ##..##
        ...#..
        ......
        ......
        ......
        #.....
        #...##
    """)
    found = counts(breakdown(pred == 1, label))
    # 5 pixels joined at a corner, 2 of them called; one missed and one found, parted by an ignored pixel
    assert found['size', '<100', True] == (3, 7, 3, 1)
    # 3 at the top right, which are beside a changed pixel but on none, and 1 at the bottom
    assert found['size', '<100', False] == (2, 4, 4, 2)


def test_half_of_the_pixels_is_found():
    label = draw('##.## ##.##')
    pred = draw('##.#. .....') == 1
    assert counts(breakdown(pred, label))['size', '<100', True] == (2, 8, 3, 1)


@pytest.mark.parametrize(
    ('area', 'name'),
    [
        (1, '<100'),
        (99, '<100'),
        (100, '100-399'),
        (399, '100-399'),
        (400, '400-1599'),
        (1599, '400-1599'),
        (1600, '1600-6399'),
        (6399, '1600-6399'),
        (6400, '>=6400'),
        (9999, '>=6400'),
    ],
)
def test_limits_of_sizes(area, name):
    label = np.zeros((100, 100), np.uint8)
    label.ravel()[:area] = 1
    blank = np.zeros_like(label)
    missed = counts(breakdown(blank == 1, label))
    assert {key: value for key, value in missed.items() if key[0] == 'size'} == {
        ('size', name, True): (1, area, 0, 0)
    }
    alarm = counts(breakdown(label == 1, blank))
    assert {key: value for key, value in alarm.items() if key[0] == 'size'} == {
        ('size', name, False): (1, area, area, 1)
    }


def test_hand_made_distances():
    label = np.zeros((3, 60), np.uint8)
    label[:, 40:] = 1  # the boundary is a straight line, so distances are whole numbers
    pred = np.zeros_like(label, bool)
    pred[0, 38:43] = True
    found = counts(breakdown(pred, label))
    assert {key[1:]: value for key, value in found.items() if key[0] == 'boundary'} == {
        ('0-1', True): (None, 3, 1, None),
        ('2-3', True): (None, 6, 2, None),
        ('4-7', True): (None, 12, 0, None),
        ('8-15', True): (None, 24, 0, None),
        ('>=16', True): (None, 15, 0, None),
        ('0-1', False): (None, 3, 1, None),
        ('2-3', False): (None, 6, 1, None),
        ('4-7', False): (None, 12, 0, None),
        ('8-15', False): (None, 24, 0, None),
        ('>=16', False): (None, 75, 0, None),
    }


def test_distances_are_measured_across_ignored_pixels():
    found = counts(breakdown(draw('....') == 1, draw('#??.')))
    assert found['boundary', '2-3', True] == found['boundary', '2-3', False] == (None, 1, 0, None)


@pytest.mark.parametrize('value', [0, 1])
def test_one_class_alone(value):
    label = np.full((5, 7), value, np.uint8)
    pred = np.zeros((5, 7), bool)
    pred[0, :3] = True
    expected = {('boundary', '>=16', bool(value)): (None, 35, 3, None)}
    expected |= {('size', '<100', True): (1, 35, 3, 0)} if value else {('size', '<100', False): (1, 3, 3, 1)}
    assert counts(breakdown(pred, label)) == expected


def test_nothing_counts_where_everything_is_ignored():
    label = np.full((4, 4), 255, np.uint8)
    assert counts(breakdown(np.ones((4, 4), bool), label)) == {}


def name_of(value, groups):
    return [name for name, least in groups.items() if least <= value][-1]


def slow_breakdown(pred, label):
    """Key -> objects, pixels, called, hits; pixel by pixel."""
    total = defaultdict(lambda: [0, 0, 0, 0])

    def add(key, *values):
        total[key] = [one + other for one, other in zip(total[key], values, strict=True)]

    at = {value: [tuple(map(int, spot)) for spot in np.argwhere(label == value)] for value in (0, 1)}
    for region in regions(at[1]):
        called = sum(bool(pred[spot]) for spot in region)
        key = 'size', name_of(len(region), SIZES), True
        add(key, 1, len(region), called, called >= len(region) / 2)
    for region in regions(spot for value in (0, 1) for spot in at[value] if pred[spot]):
        if not any(label[spot] == 1 for spot in region):
            add(('size', name_of(len(region), SIZES), False), 1, len(region), len(region), 1)
    for value in (0, 1):
        for spot in at[value]:
            distance = min((math.dist(spot, other) for other in at[1 - value]), default=math.inf)
            add(('boundary', name_of(distance, RINGS), value == 1), 0, 1, bool(pred[spot]), 0)
    return {key: tuple(values) for key, values in total.items()}


def random_image(seed):
    """Blobs of any size, a prediction that is partly right, and ignored stripes in every other image."""
    rng = np.random.default_rng(seed)
    height, width = map(int, rng.integers(20, 36, 2))
    smooth, noise = (cv2.resize(rng.random((6, 6)), (width, height)) for _ in range(2))
    label = (smooth > rng.choice([0.5, 0.7, 0.85])).astype(np.uint8)
    pred = np.where(label == 1, noise > 0.45, noise > 0.7) ^ (rng.random(label.shape) > 0.97)
    if seed % 2:
        label[:, 7:9] = 255
        label[rng.random(label.shape) > 0.95] = 255
    return pred, label


@pytest.mark.parametrize('seed', range(8))
def test_equals_a_slow_count(seed):
    pred, label = random_image(seed)
    groups = breakdown(pred, label)
    assert [group.key for group in groups] == ALL
    expected = slow_breakdown(pred, label)
    assert {key: tuple(value or 0 for value in values) for key, values in counts(groups).items()} == expected
    assert {group.key for group in groups if group.objects is None} == {
        key for key in ALL if key[0] == 'boundary'
    }
    assert all(
        type(value) in (str, bool, int, type(None)) for group in groups for value in asdict(group).values()
    )


def test_totals_are_the_confusion_matrix():
    for seed in range(8):
        pred, label = random_image(seed)
        groups = breakdown(pred, label)
        cells = confusion(torch.from_numpy(pred), torch.from_numpy(label))

        def total(kind, changed, groups=groups):
            mine = [group for group in groups if group.key[::2] == (kind, changed)]
            return sum(group.pixels for group in mine), sum(group.called for group in mine)

        assert total('boundary', True) == total('size', True) == (cells.tp + cells.fn, cells.tp)
        assert total('boundary', False) == (cells.fp + cells.tn, cells.fp)
        assert total('size', False)[1] <= cells.fp


def test_sums_over_images():
    images = [breakdown(*random_image(seed)) for seed in range(4)]
    total = sum_groups(images)
    assert [group.key for group in total] == ALL
    for index, group in enumerate(total):
        parts = [image[index] for image in images]
        for name in ('pixels', 'called', 'objects', 'hits'):
            values = [getattr(part, name) for part in parts]
            assert getattr(group, name) == (None if None in values else sum(values))
    assert sum_groups([sum_groups(images[:1]), sum_groups(images[1:])]) == total
    assert sum_groups([]) == []


def test_rates():
    group = Group('size', '<100', True, 4, 40, 10, 1)
    assert (group.pixel_rate, group.object_rate) == (0.25, 0.25)
    empty = Group('size', '<100', True, 0, 0, 0, 0)
    assert (empty.pixel_rate, empty.object_rate) == (0.0, 0.0)
    ring = Group('boundary', '0-1', False, None, 8, 2, None)
    assert (ring.pixel_rate, ring.object_rate) == (0.25, None)
    assert ring + ring == Group('boundary', '0-1', False, None, 16, 4, None)
    with pytest.raises(AssertionError):
        group + ring


def test_what_is_no_label_is_refused():
    with pytest.raises(AssertionError):
        breakdown(np.zeros((2, 2), bool), np.full((2, 2), 2, np.uint8))
    with pytest.raises(AssertionError):
        breakdown(np.zeros((2, 3), bool), np.zeros((2, 2), np.uint8))
    with pytest.raises(AssertionError):
        breakdown(np.zeros((2, 2), np.int64), np.zeros((2, 2), np.uint8))
