"""Calibration: known answers of the figures, the fit, the sweep, and ``hsonet calibrate`` on a tiny model."""

import argparse
import json
import sys

import cv2
import numpy as np
import pytest
import torch

from hsonet_mm import ChangeDetector
from hsonet_mm.cli import main
from hsonet_mm.commands import calibrate as command
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.calibration import LogitCounts, fit_temperature, reliability
from hsonet_mm.evaluation.confusion import histograms, sweep
from hsonet_mm.inference.calibration import apply_temperature, read_calibration, sidecar_of
from hsonet_mm.logits import LOGIT_LIMIT


def counts_of(temperature, pixels=1_000_000):
    """A model whose logits are ``temperature`` times too large: changed is sigmoid(logit / temperature)."""
    counts = LogitCounts()
    truth = 1 / (1 + np.exp(-counts.logits / temperature))
    weight = pixels * np.exp(-((counts.logits / 4) ** 2))  # most logits are small, as after weight decay
    counts.counts[1] = np.round(weight * truth)
    counts.counts[0] = np.round(weight * (1 - truth))
    return counts


@pytest.mark.parametrize(
    'arguments',
    [
        ['test', 'c.py', 'c.pth', '-o'],
        ['robustness', 'c.py', 'c.pth', '-o'],
        ['calibrate', 'c.py', 'c.pth', '--diagram'],
        ['export', 'c.py', 'c.pth', '-o'],
        ['check', '.', '--json'],
        ['check', '.', '--contact-sheet'],
    ],
    ids=' '.join,
)
def test_a_place_for_the_results_is_looked_for_first(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('')
    assert main([*arguments, 'file/results.png']) == 2
    assert 'error: the folder file cannot be created (File exists)' in capsys.readouterr().err


def test_packaged_models_are_calibrated_as_copies(capsys):
    assert main(['calibrate', 'c.py', 'buildings']) == 2
    assert 'calibrate a copy (`hsonet export buildings -o my.onnx`)' in capsys.readouterr().err


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


@pytest.fixture(scope='module')
def trained(tmp_path_factory, write_random):
    """Config and checkpoint of random weights, whose probabilities spread around one half."""
    return write_random(tmp_path_factory.mktemp('trained'), gain=100)


@pytest.fixture
def checkpoint(trained, tmp_path):
    """A copy of the checkpoint, to put sidecars beside."""
    copy = tmp_path / 'tiny.pth'
    copy.write_bytes(trained[1].read_bytes())
    return copy


def run(*args):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(arg) for arg in args]))


def test_command(trained, checkpoint, tiny_data, capsys):
    assert run(trained[0], checkpoint) == 0
    output = capsys.readouterr()
    assert f'Calibration: {sidecar_of(checkpoint)}' in output.out
    content = json.loads(sidecar_of(checkpoint).read_text())
    assert content['model'] == 'tiny.py tiny.pth'
    assert content['pixels'] == 2 * 64 * 64
    assert content['before']['threshold'] == 0.5
    assert cv2.imread(str(checkpoint.with_name('tiny.pth.calibration.png'))) is not None

    calibration = read_calibration(checkpoint)
    assert content['temperature'] == calibration.temperature == content['after']['temperature']
    raw = ChangeDetector.from_checkpoint(*trained)
    calibrated = ChangeDetector.from_checkpoint(trained[0], checkpoint)
    assert calibrated.threshold == calibration.threshold
    counts, pairs = LogitCounts(), sorted((tiny_data / 'val/A').iterdir())
    for path in pairs:
        files = path, tiny_data / 'val/B' / path.name
        probs = raw.predict(*files).probs
        label = cv2.imread(str(tiny_data / 'val/label' / path.name), cv2.IMREAD_UNCHANGED) // 255
        counts.add(probs, label)
        again = calibrated.predict(*files)
        np.testing.assert_allclose(again.probs, apply_temperature(probs, calibration.temperature), atol=1e-6)
    assert fit_temperature(counts) == pytest.approx(calibration.temperature, rel=1e-4)
    assert content['before']['negative_log_likelihood'] == pytest.approx(counts.loss(1), rel=1e-4)

    assert (
        run(trained[0], checkpoint, '--diagram', checkpoint.with_suffix('.svg')) == 0
    )  # measures the model anew
    assert json.loads(sidecar_of(checkpoint).read_text())['before'] == content['before']
    assert '<svg' in checkpoint.with_suffix('.svg').read_text()


def test_an_end_of_the_range_is_a_warning(trained, checkpoint, monkeypatch, capsys):
    """Of labels that the sign of the logit tells without error, the smaller the temperature the better."""
    counts = LogitCounts()
    counts.counts[0, counts.logits < 0] = 1
    counts.counts[1, counts.logits > 0] = 1
    monkeypatch.setattr(command, 'count_validation', lambda *_: counts)
    assert run(trained[0], checkpoint) == 0
    assert 'warning: the temperature is at the end of its range' in capsys.readouterr().err
    assert read_calibration(checkpoint).temperature == pytest.approx(0.1, rel=1e-3)


def test_without_matplotlib(trained, checkpoint, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(UserError, match='the diagram needs matplotlib'):
        run(trained[0], checkpoint, '--diagram', checkpoint.with_suffix('.png'))
    assert not sidecar_of(checkpoint).exists()
    assert run(trained[0], checkpoint) == 0
    assert 'warning: no diagram: the diagram needs matplotlib' in capsys.readouterr().err
    assert sidecar_of(checkpoint).exists()


def test_bad_input(trained, checkpoint, tmp_path):
    config, _ = trained
    with pytest.raises(UserError, match=r'ends in \.png or \.svg'):
        run(config, checkpoint, '--diagram', tmp_path / 'diagram.txt')
    with pytest.raises(UserError, match=r'none\.py does not exist'):
        run('none.py', checkpoint)
    with pytest.raises(UserError, match=r'none\.pth does not exist'):
        run(config, 'none.pth')
    with pytest.raises(UserError, match=r'none\.onnx does not exist'):
        run(config, 'none.onnx')
    with pytest.raises(UserError, match=r'--runtime openvino requires an exported model'):
        run(config, checkpoint, '--runtime', 'openvino')
    with pytest.raises(UserError, match='nowhere'):
        run(config, checkpoint, '--data-root', tmp_path / 'nowhere')
    without = tmp_path / 'without.py'
    without.write_text(
        f'_base_ = {str(config)!r}\nval_dataloader = None\nval_cfg = None\nval_evaluator = None\n'
    )
    with pytest.raises(UserError, match='has no val_dataloader'):
        run(without, checkpoint)
    assert not sidecar_of(checkpoint).exists()


def test_a_split_without_changed_pixels(trained, checkpoint, tiny_data, tmp_path):
    for folder in ('A', 'B', 'label'):
        (tmp_path / 'val' / folder).mkdir(parents=True)
        name = sorted((tiny_data / 'val' / folder).iterdir())[0]
        one = cv2.imread(str(name), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(tmp_path / 'val' / folder / '0.png'), one * (folder != 'label'))
    with pytest.raises(UserError, match='contains no changed pixel'):
        run(trained[0], checkpoint, '--data-root', tmp_path)
    assert not sidecar_of(checkpoint).exists()


LOAD, LABEL, PACK, RESIZE = (
    {'type': 'hsonet_mm.MultiImgLoadImageFromFile'},
    {'type': 'hsonet_mm.MultiImgLoadAnnotations'},
    {'type': 'MultiImgPackSegInputs'},
    {'type': 'MultiImgResize', 'scale': (32, 32)},
)
DATES = {'img_path_from': 'val/A', 'img_path_to': 'val/B'}
RESIZES = r'bad\.py changes the size of the images.*: remove MultiImgResize'
UNLABELLED = r'val/A/0\.png has no label: give seg_map_path in data_prefix.*hsonet predict'


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        ({'pipeline': [LOAD, RESIZE, LABEL, PACK]}, RESIZES),
        ({'pipeline': [LOAD, LABEL, RESIZE, PACK]}, RESIZES),
        ({'pipeline': [LOAD, PACK]}, UNLABELLED),
        ({'data_prefix': {**DATES, '_delete_': True}}, UNLABELLED),
    ],
    ids=['resized before', 'resized after', 'not loaded', 'not there'],
)
def test_a_split_that_cannot_be_calibrated_on(trained, checkpoint, tmp_path, changes, told):
    config = tmp_path / 'bad.py'
    config.write_text(f'_base_ = {str(trained[0])!r}\nval_dataloader = {dict(dataset=changes)!r}\n')
    with pytest.raises(UserError, match=told):
        run(config, checkpoint)
    assert not sidecar_of(checkpoint).exists()


def test_limit_is_where_probabilities_end():
    """The last logit that is kept is told from 1 in single precision."""
    p = np.float32(1 / (1 + np.exp(-LOGIT_LIMIT)))
    assert 0 < 1 - p < 2e-5
