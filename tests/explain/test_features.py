"""Features of foreground, hard and easy background pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

pytest.importorskip('captum')
pytest.importorskip('sklearn')
pytest.importorskip('matplotlib')

from made_up_networks import Model, pair_of

from hsonet_mm.datasets.labelled_pairs import LabelledPair
from hsonet_mm.errors import UserError
from hsonet_mm.explain.features import KINDS, PixelSample, choose_pixels, embed, features_of


def cloud(distance, seed=0, number=40):
    """Three groups of points of standard deviation 1, so far from the origin, in 3 channels of unequal units."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(3), number)
    points = rng.normal(size=(3 * number, 3)) + distance * np.eye(3)[kind]
    return (points * [1, 1000, 1e-3]).astype(np.float32), kind


def test_silhouette_tells_groups_from_chance():
    features, kind = cloud(20)
    apart = embed(features, kind)
    assert apart.silhouette > 0.8
    assert set(apart.by_kind) == set(KINDS)
    assert np.mean(list(apart.by_kind.values())) == pytest.approx(apart.silhouette)  # kinds of one size
    assert apart.points.shape == (120, 2)
    shuffled = embed(features, np.random.default_rng(1).permutation(kind))
    assert abs(shuffled.silhouette) < 0.1
    np.testing.assert_array_equal(embed(features, kind).points, apart.points)


def test_units_of_channels_do_not_matter():
    features, kind = cloud(3)
    scaled = embed(features * np.float32([5, 0.1, 100]), kind)
    assert scaled.silhouette == pytest.approx(embed(features, kind).silhouette, abs=1e-4)


def network_of(model=None, probs=None):
    """A network with given probabilities."""
    detector = SimpleNamespace(probs=lambda t1, t2, **_: probs(t1) if probs else None, model=model)  # noqa: ARG005
    return SimpleNamespace(detector=detector, model=model)


def labelled(probability, target):
    """A pair whose first date holds its probability of change in percent."""
    t1 = np.repeat(np.round(100 * probability).astype(np.uint8)[..., None], 3, axis=2)
    return LabelledPair(t1, np.zeros_like(t1), target.astype(np.uint8))


PERCENT = network_of(probs=lambda t1: t1[..., 0].astype(np.float32) / 100)


def test_pixels_by_kind():
    """Left changed, with ignored pixels in it; a false alarm of 30 pixels; the rest is easy."""
    target, probs = np.zeros((20, 30)), np.full((20, 30), 0.1)
    target[:, :10], target[0, :5] = 1, 255
    probs[10:15, 20:26] = 0.9
    chosen = choose_pixels([PERCENT], [labelled(probs, target)] * 2, count=50)
    kinds = {name: (chosen.kind == index) for index, name in enumerate(KINDS)}
    assert {name: int(where.sum()) for name, where in kinds.items()} == dict.fromkeys(KINDS, 50)
    at = chosen.row, chosen.column
    assert (target[at][kinds['foreground']] == 1).all()
    assert (chosen.column[kinds['foreground']] < 8).all()  # not within 2 pixels of the outline
    assert (chosen.column[~kinds['foreground']] >= 12).all()
    assert (probs[at][kinds['hard background']] == 0.9).all()  # 60 there are
    assert (probs[at][kinds['easy background']] == 0.1).all()
    assert (np.diff(chosen.pair) >= 0).all()
    assert set(chosen.pair) == {0, 1}
    again = choose_pixels([PERCENT], [labelled(probs, target)] * 2, count=50)
    assert all((getattr(again, name) == getattr(chosen, name)).all() for name in ('pair', 'row', 'column'))
    other = choose_pixels([PERCENT], [labelled(probs, target)] * 2, count=50, seed=1)
    assert (other.row != chosen.row).any()


def test_too_few_false_alarms_are_filled_up_by_the_likeliest():
    target, probs = np.zeros((20, 30)), np.full((20, 30), 0.1)
    target[:, :10] = 1
    probs[5, 20:25], probs[12, 15:25] = 0.8, 0.3
    chosen = choose_pixels([PERCENT], [labelled(probs, target)], count=12)
    hard = np.sort(probs[chosen.row, chosen.column][chosen.kind == 1])
    np.testing.assert_allclose(hard, [0.3] * 7 + [0.8] * 5)
    spots = set(zip(chosen.row, chosen.column, strict=True))
    assert len(spots) == 36  # none is hard and easy at once


def test_networks_are_compared_on_mean_probabilities():
    """What either is half sure of is hard where their mean exceeds 0.5."""
    target, probs = np.zeros((20, 30)), np.full((20, 30), 0.1)
    target[:, :10] = 1
    probs[5:9, 20:25] = 0.6
    sure = network_of(probs=lambda t1: np.where(t1[..., 0] == 60, 0.55, 0).astype(np.float32))
    chosen = choose_pixels([PERCENT, sure], [labelled(probs, target)], count=15)
    assert (probs[chosen.row, chosen.column][chosen.kind == 1] == 0.6).all()


def test_split_without_a_kind_is_refused():
    with pytest.raises(UserError, match='0 pixels of foreground away from the outlines of labels'):
        choose_pixels([PERCENT], [labelled(np.full((9, 9), 0.1), np.zeros((9, 9)))])


def test_features_are_those_at_the_pixels():
    """The network averages over 4 x 4 pixels and classifies; its features are known at every pixel."""
    model = Model(nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(6, 1, 1)))
    t1, t2 = pair_of(8, 12)
    pairs = [LabelledPair(t1[0], t2[0], np.zeros((8, 12), np.uint8))] * 2
    pixels = PixelSample(*np.array([[0, 1, 1], [0, 3, 4], [0, 4, 11], [0, 1, 2]]))
    features, relations = features_of(network_of(model), pairs, pixels)
    assert relations == {}
    cells = np.concatenate([t1, t2], axis=3)[0].reshape(2, 4, 3, 4, 6).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(features, [cells[0, 0], cells[0, 1], cells[1, 2]], rtol=1e-5)
