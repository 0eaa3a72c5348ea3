"""Pixel counts and their figures, by hand and by scikit-learn, and the sweep over thresholds."""

import numpy as np
import pytest
import torch
from figures import FIGURES, by_scikit_learn, random_pair

from hsonet_mm.evaluation import Confusion, confusion, histograms, sweep
from hsonet_mm.evaluation.confusion import BINS


def test_hand_values():
    pred = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 1]])
    target = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 255]])
    counts = confusion(pred, target)
    assert counts == Confusion(tp=1, fp=2, fn=1, tn=3)
    assert counts.precision == 1 / 3
    assert counts.recall == 1 / 2
    assert counts.f1 == 2 / 5
    assert counts.iou == 1 / 4
    assert counts.oa == 4 / 7
    # expected agreement (3 * 2 + 4 * 5) / 49, observed 4 / 7
    assert counts.kappa == pytest.approx((4 / 7 - 26 / 49) / (1 - 26 / 49))
    assert counts.total == 7
    assert counts + Confusion(tp=1) == Confusion(2, 2, 1, 3)
    assert list(counts.metrics()) == list(FIGURES)


@pytest.mark.parametrize(('pred', 'target'), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_undefined_figures_follow_scikit_learn(pred, target):
    pred, target = np.full((4, 4), pred), np.full((4, 4), target)
    expected = by_scikit_learn(pred, target)
    assert confusion(torch.tensor(pred), torch.tensor(target)).metrics() == pytest.approx(expected)


def test_sweep_equals_thresholding_exactly():
    probs, target = random_pair(5, (40, 40))
    probs[0, :5], target[0, :5] = [0, 1, 0.5, 0.25, 0.75], 1  # on the edges of bins
    probs, target = torch.tensor(probs), torch.tensor(target)
    curve = sweep(*histograms(probs, target))
    assert len(curve.thresholds) == len(curve.confusions) == BINS - 1
    for index in [0, 1, 17, BINS // 4 - 1, BINS // 2 - 1, 3 * BINS // 4 - 1, BINS - 2]:
        assert curve.confusions[index] == confusion(probs > curve.thresholds[index], target)
    assert curve.best[1].f1 == max(one.f1 for one in curve.confusions)
