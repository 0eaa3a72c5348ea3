"""Calibration: known answers of the figures, and the fit."""

import numpy as np
import pytest
import torch

from hsonet_mm.commands import calibrate as command
from hsonet_mm.evaluation.calibration import LogitCounts, fit_temperature, reliability
from hsonet_mm.evaluation.confusion import histograms, sweep
from hsonet_mm.logits import LOGIT_LIMIT


def counts_of(temperature, pixels=1_000_000):
    """A model whose logits are ``temperature`` times too large: changed is sigmoid(logit / temperature)."""
    counts = LogitCounts()
    truth = 1 / (1 + np.exp(-counts.logits / temperature))
    weight = pixels * np.exp(-((counts.logits / 4) ** 2))  # most logits are small, as after weight decay
    counts.counts[1] = np.round(weight * truth)
    counts.counts[0] = np.round(weight * (1 - truth))
    return counts


def test_expected_calibration_error_known_answers():
    one = reliability(np.array([0.9]), np.array([3]), np.array([7]))
    assert one.error == pytest.approx(0.2)
    assert one.pixels.sum() == 10
    # 30 pixels at 0.2, a third changed; 10 at 0.8, 8 of them changed: (30 * |0.2 - 1/3| + 0) / 40
    two = reliability(np.array([0.2, 0.8]), np.array([20, 2]), np.array([10, 8]))
    assert two.error == pytest.approx(30 * (1 / 3 - 0.2) / 40)
    assert reliability(np.array([0.0, 1.0]), np.array([5, 0]), np.array([0, 5])).error == 0
    assert reliability(np.array([0.0, 1.0]), np.array([0, 5]), np.array([5, 0])).error == 1


def test_errors_of_one_bin_cancel_and_of_two_do_not():
    """0.62 and 0.66 share the bin (9/15, 10/15], 0.68 does not."""
    together = reliability(np.array([0.62, 0.66]), np.array([100, 28]), np.array([0, 100]))
    assert together.error == pytest.approx(abs(0.62 * 100 + 0.66 * 128 - 100) / 228)
    apart = reliability(np.array([0.62, 0.68]), np.array([100, 0]), np.array([0, 100]))
    assert apart.error == pytest.approx((0.62 + 0.32) / 2)


def test_bins_are_closed_above():
    edges = reliability(np.array([0.0, 1 / 15, 1.0]), np.array([1, 1, 1]), np.zeros(3, int), bins=15)
    assert edges.pixels[[0, 1, 14]].tolist() == [2, 0, 1]


def test_counts_hold_what_the_pixels_hold():
    rng = np.random.default_rng(0)
    probs = rng.beta(0.4, 1.2, (4, 50, 60)).astype(np.float32)
    target = (rng.random(probs.shape) < probs**2).astype(np.uint8)
    target[0, :10] = 255
    counts = LogitCounts()
    for one, label in zip(probs, target, strict=True):
        counts.add(one, label)
    valid = target != 255
    assert counts.counts.sum(axis=1).tolist() == [(target == 0).sum(), (target == 1).sum()]
    p, y = probs[valid].astype(float).clip(1e-5, 1 - 1e-5), target[valid]
    for temperature in (1.0, 2.5):
        odds = (p / (1 - p)) ** (1 / temperature)
        loss = -np.log(np.where(y == 1, odds / (1 + odds), 1 / (1 + odds))).mean()
        assert counts.loss(temperature) == pytest.approx(loss, abs=1e-4)
        scaled = (odds / (1 + odds)).astype(np.float64)
        exact = reliability(scaled, 1 - y.astype(int), y.astype(int)).error
        assert reliability(counts.probs(temperature), *counts.counts).error == pytest.approx(exact, abs=1e-3)
    best = sweep(*histograms(torch.from_numpy(probs[valid]), torch.from_numpy(y))).best
    threshold, confusion = counts.sweep(1.0).best
    assert confusion.f1 == pytest.approx(best[1].f1, abs=1e-3)
    assert threshold == pytest.approx(best[0], abs=0.01)


def test_probabilities_of_0_and_1_are_counted():
    counts = LogitCounts()
    counts.add(np.array([0, 1, 1], np.float32), np.array([0, 1, 0], np.uint8))
    assert counts.counts[:, [0, -1]].tolist() == [[1, 1], [0, 1]]
    assert np.isfinite(counts.loss(0.1))


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.5])
def test_fit_finds_the_temperature(temperature):
    counts = counts_of(temperature)
    assert fit_temperature(counts) == pytest.approx(temperature, rel=1e-3)
    after = reliability(counts.probs(temperature), *counts.counts).error
    assert after < 1e-5
    if temperature != 1:
        assert reliability(counts.probs(), *counts.counts).error > 0.02


def test_calibration_of_an_overconfident_model():
    counts = counts_of(2.5)
    calibration, report = command.calibrate(counts, 0.5)
    assert calibration.temperature == pytest.approx(2.5, rel=1e-3)
    assert (
        report['after']['expected_calibration_error'] < report['before']['expected_calibration_error'] / 100
    )
    assert report['after']['negative_log_likelihood'] < report['before']['negative_log_likelihood']
    assert report['after']['f1'] >= report['before']['f1']
    # F1 is highest where the probability that is true is half of the F1 (Lipton et al. 2014)
    assert calibration.threshold == pytest.approx(report['after']['f1'] / 2, abs=0.01)
    assert report['pixels'] == counts.counts.sum()


def test_limit_is_where_probabilities_end():
    """The last logit that is kept is told from 1 in single precision."""
    p = np.float32(1 / (1 + np.exp(-LOGIT_LIMIT)))
    assert 0 < 1 - p < 2e-5
