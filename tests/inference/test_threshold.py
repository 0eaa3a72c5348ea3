"""Which threshold counts: given, of the calibration, of the checkpoint, 0.5; in every command, with its source."""

import json
import re

import pytest
import torch

from hsonet_mm import ChangeDetector
from hsonet_mm.inference.calibration import Calibration, write_calibration

CARRIED = 'of validation at iteration 40, in carries.pth'


@pytest.fixture
def trained(tiny_checkpoint, tmp_path):
    """The tiny config, and a checkpoint that carries the threshold 0.25."""
    config, checkpoint = tiny_checkpoint
    content = torch.load(checkpoint, weights_only=True)
    content['meta'] = {'val_threshold': {'value': 0.25, 'f1': 0.5, 'iter': 40}}
    torch.save(content, tmp_path / 'carries.pth')
    return config, tmp_path / 'carries.pth'


@pytest.fixture
def pair(tiny_data):
    return tiny_data / 'test/A/1.png', tiny_data / 'test/B/1.png'


def test_detector(trained):
    detector = ChangeDetector.from_checkpoint(*trained)
    assert (detector.threshold, detector.threshold_source) == (0.25, CARRIED)
    option = ChangeDetector.from_checkpoint(*trained, cfg_options={'model.decode_head.threshold': 0.75})
    assert (option.threshold, option.threshold_source) == (0.75, "the model's own")
    write_calibration(trained[1], Calibration(temperature=2.0, threshold=0.375), {})
    calibrated = ChangeDetector.from_checkpoint(*trained)
    assert (calibrated.threshold, calibrated.threshold_source) == (
        0.375,
        'calibrated (carries.pth.calibration.json)',
    )
    given = ChangeDetector.from_checkpoint(*trained, threshold=0.625)
    assert (given.threshold, given.threshold_source) == (0.625, 'given')


def test_predict_names_its_source(trained, pair, hsonet, tmp_path):
    code, stdout, stderr = hsonet('predict', *trained, *pair, '-o', tmp_path / 'out')
    assert code == 0, stderr
    assert f'at threshold 0.25 ({CARRIED}), see' in stdout


@pytest.mark.usefixtures('untraced')
def test_export_takes_it_along(trained, hsonet, tmp_path):
    code, stdout, stderr = hsonet('export', *trained, '-o', tmp_path / 'm.onnx')
    assert code == 0, stderr
    assert f'threshold 0.25 ({CARRIED})' in stdout
    detector = ChangeDetector.from_onnx(tmp_path / 'm.onnx')
    assert (detector.threshold, detector.threshold_source) == (0.25, CARRIED.partition(',')[0])


def scores(hsonet, trained, tmp_path, *args):
    """What ``hsonet test`` prints last, F1 by threshold, and its report."""
    out = tmp_path / 'scores.json'
    code, stdout, stderr = hsonet('test', *trained, '--work-dir', tmp_path / 'work', '--out', out, *args)
    assert code == 0, stderr
    lines = [line for line in stdout.splitlines() if line.startswith('changed F1')]
    found = [
        re.fullmatch(r'changed F1 (\d\.\d{4})(?: at threshold (\S+)(.*))?', line).groups() for line in lines
    ]
    return found, json.loads(out.read_text())


def test_test_prints_both(trained, hsonet, tmp_path):
    (half, used), report = scores(hsonet, trained, tmp_path)
    assert half[1:] == ('0.5', '')
    assert used[1:] == ('0.25', f' ({CARRIED})')
    assert (report['threshold'], report['half']['threshold']) == (0.25, 0.5)
    assert [float(half[0]), float(used[0])] == pytest.approx([report['half']['f1'], report['f1']], abs=5e-5)
    (alone,), at_half = scores(hsonet, trained, tmp_path, '--threshold', 0.5)
    assert alone == (half[0], '0.5', ' (given)')
    assert at_half['f1'] == pytest.approx(report['half']['f1'], abs=1e-12)
    assert report['f1'] != at_half['f1']


def test_test_with_a_calibration(trained, hsonet, tmp_path):
    """Its threshold is of calibrated probabilities, which are scored; commands/test_test.py compares the counts."""
    write_calibration(trained[1], Calibration(temperature=2.0, threshold=0.2), {})
    (_, used), report = scores(hsonet, trained, tmp_path)
    assert report['threshold'] == 0.2
    assert 'carries.pth.calibration.json' in used[2]


def test_threshold_of_the_config_stays(trained, hsonet, tmp_path):
    (_, used), report = scores(hsonet, trained, tmp_path, '--cfg-options', 'test_evaluator.threshold=0.75')
    assert (report['threshold'], used[1]) == (0.75, None)


def test_bare_weights_have_the_threshold_of_the_head(tiny_checkpoint, hsonet, tmp_path):
    (used,), report = scores(hsonet, tiny_checkpoint, tmp_path)
    assert (report['threshold'], used[1]) == ('model', None)
