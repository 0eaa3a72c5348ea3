"""The command ``hsonet calibrate`` on a tiny model."""

import argparse
import json
import sys

import cv2
import numpy as np
import pytest

from hsonet_mm import ChangeDetector
from hsonet_mm.cli import main
from hsonet_mm.commands import calibrate as command
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.calibration import LogitCounts, fit_temperature
from hsonet_mm.inference.calibration import apply_temperature, read_calibration, sidecar_of


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
