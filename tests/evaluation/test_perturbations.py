"""Perturbed pairs: what each perturbation does to pixels, and what it costs detectors that can be reckoned by hand."""

import numpy as np
import pytest

from hsonet_mm.commands.robustness import score_perturbed
from hsonet_mm.datasets.labelled_pairs import LabelledPair
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.perturbations import PERTURBATIONS, autumn
from hsonet_mm.images import Reading
from hsonet_mm.labels import IGNORED

pytestmark = pytest.mark.any_host

SIDE, HOUSE = 40, slice(10, 20)


class Oracle:
    """Knows that what is white is a house, and nothing of light."""

    threshold, threshold_source, name, versions = 0.5, 'given', 'oracle', {}
    reading = Reading()

    def probs(self, t1, t2, *, channel_order):
        assert channel_order == 'bgr'
        return ((t1.min(3) == 255) != (t2.min(3) == 255)).astype(np.float32)


class Second(Oracle):
    """Believes every house of the second date to be new."""

    def probs(self, _, t2, *, channel_order):
        assert channel_order == 'bgr'
        return (t2.min(3) == 255).astype(np.float32)


def pair(seed=0):
    """Ground, on which a white house of 10 x 10 pixels appears."""
    t1 = np.random.default_rng(seed).integers(60, 160, (SIDE, SIDE, 3), dtype=np.uint8)
    t2, target = t1.copy(), np.zeros((SIDE, SIDE), np.uint8)
    t2[HOUSE, HOUSE] = 255
    target[HOUSE, HOUSE] = 1
    return LabelledPair(t1, t2, target)


def scores(detector, count=4):
    return {row['name']: row for row in score_perturbed(detector, [pair(seed) for seed in range(count)])}


def test_what_they_cost_an_oracle():
    rows = scores(Oracle())
    for name in ('as they are', 'dates exchanged', 'date 1 shifted by 2 pixels', 'date 2 darker (gamma 1.4)'):
        assert rows[name]['f1'] == 1, name  # white stays white
    # A house of 10 x 10 that moves by k pixels along one side keeps 10 - k of 10 rows: TP 1 - k / 10, FP = FN = k / 10.
    for pixels, name in ((1, 'date 2 shifted by 1 pixel'), (2, 'date 2 shifted by 2 pixels')):
        assert rows[name]['f1'] == pytest.approx(1 - pixels / 10)
        assert rows[name]['precision'] == rows[name]['recall']
        assert rows[name]['f1_difference'] == pytest.approx(-pixels / 10)
    for name in ('date 2 with 0.7 of the contrast', 'date 2 with a warm cast'):
        assert rows[name]['recall'] == 0  # white is white no more
    for (
        name,
        row,
    ) in rows.items():  # the oracle finds all that there is to find, unless it takes white for grey
        lost = {'date 2 shifted by 1 pixel': 0.1, 'date 2 shifted by 2 pixels': 0.2}.get(name, 0)
        assert row['perfect_f1'] == pytest.approx(1 - lost), name


def test_exchanged_dates_cost_who_looks_at_one():
    rows = scores(Second())
    assert rows['as they are']['f1'] == 1
    assert rows['dates exchanged']['f1'] == 0


@pytest.mark.parametrize('number', range(4))
@pytest.mark.parametrize('date', [1, 2])
@pytest.mark.parametrize('pixels', [1, 2])
def test_shift(number, date, pixels):
    before = pair()
    name = f'date {date} shifted by {pixels} pixel{"s" if pixels > 1 else ""}'
    after = PERTURBATIONS[name](*before, number)
    np.testing.assert_array_equal(after[2 - date], before[2 - date])  # the other date
    down, right = [(0, pixels), (pixels, 0), (0, -pixels), (-pixels, 0)][number]
    for row in range(SIDE):
        for column in range(0, SIDE, 7):
            source = row - down, column - right
            inside = all(0 <= place < SIDE for place in source)
            assert (after[2][row, column] != IGNORED) == inside
            if inside:
                np.testing.assert_array_equal(after[date - 1][row, column], before[date - 1][source])
                assert after[2][row, column] == before[2][row, column]


def test_colours_of_the_second_date_alone():
    before = pair()
    for name, perturb in PERTURBATIONS.items():
        copy = tuple(part.copy() for part in before)
        t1, t2, target = perturb(*before, 0)
        for part, original in zip(before, copy, strict=True):
            np.testing.assert_array_equal(part, original)  # what comes in stays as it is
        assert t2.dtype == np.uint8
        if 'shifted' not in name and name != 'dates exchanged':
            np.testing.assert_array_equal(t1, before.t1)
            np.testing.assert_array_equal(target, before.target)
            assert (name == 'as they are') == (t2 == before.t2).all(), name


@pytest.mark.parametrize(
    ('name', 'bgr', 'expected'),
    [
        ('date 2 brighter (gamma 0.7)', (64, 128, 255), (97, 157, 255)),  # 255 (64 / 255)^0.7 = 96.9; 157.4
        ('date 2 darker (gamma 1.4)', (64, 128, 255), (37, 97, 255)),  # 36.8; 97.2
        ('date 2 brighter by 25 of 255', (64, 128, 255), (89, 153, 255)),
        ('date 2 with 0.7 of the contrast', (0, 128, 255), (38, 128, 217)),  # 127.5 + 0.7 (v - 127.5)
        ('date 2 with a warm cast', (100, 100, 100), (85, 100, 110)),
    ],
)
def test_light(name, bgr, expected):
    image = np.full((2, 2, 3), bgr, np.uint8)
    _, t2, _ = PERTURBATIONS[name](image, image, np.zeros((2, 2), np.uint8), 0)
    np.testing.assert_array_equal(t2[0, 0], expected)


def test_autumn_is_green_turned_brown():
    grey, leaf = np.array([0.5, 0.5, 0.5], np.float32), np.array([0.2, 0.4, 0.2], np.float32)
    np.testing.assert_allclose(autumn(grey), grey)
    turned = autumn(leaf)
    red, green, blue = turned
    assert red > green > blue
    luma = np.array([0.299, 0.587, 0.114])
    assert turned @ luma == pytest.approx(leaf @ luma, rel=1e-3)


def test_a_model_of_other_bands():
    class Four(Oracle):
        reading = Reading(bands=(1, 2, 3, 4))

    with pytest.raises(UserError, match=r'oracle takes 4 bands per date.*give a model of three bands'):
        score_perturbed(Four(), [])
