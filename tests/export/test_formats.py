"""Files of exported models: the same probabilities as PyTorch at any size, and what they say of themselves."""

import argparse
import io
import json
import sys

import numpy as np
import pytest
import torch
from helpers import LIGHT, calibrated_copy
from PIL import Image

from hsonet_mm import ChangeDetector
from hsonet_mm.cli import main
from hsonet_mm.commands import export as command
from hsonet_mm.errors import UserError
from hsonet_mm.export import formats, pipeline
from hsonet_mm.export.graph import trace

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

# Two channels of logits, images in BGR, no padding.
TWO_CHANNELS = {
    **LIGHT,
    'model.data_preprocessor.bgr_to_rgb': False,
    'model.data_preprocessor.mean': [10.0, 50.0, 90.0, 100.0, 140.0, 180.0],
    'model.data_preprocessor.test_cfg': None,
    'model.decode_head': {
        **LIGHT['model.decode_head'],
        'out_channels': 2,
        'loss_decode': {'type': 'mmseg.CrossEntropyLoss'},
    },
}


def run(*args):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(arg) for arg in args]))


@pytest.fixture(scope='module')
def exported(trained, tmp_path_factory):
    """The calibrated model, exported, and the program it was traced to."""
    config, checkpoint = trained
    calibrated = calibrated_copy(checkpoint, tmp_path_factory.mktemp('exported') / 'calibrated.pth')
    path = calibrated.with_name('model.onnx')
    programs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, 'trace', lambda *args: programs.append(trace(*args)) or programs[0])
        assert run(config, calibrated, '-o', path) == 0
    return config, calibrated, path, programs[0]


def images(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def bands_of(t1, t2):
    """Red, green, blue of both dates, as other programs give them to an exported model."""
    return np.concatenate([t1[..., ::-1], t2[..., ::-1]], axis=3).transpose(0, 3, 1, 2).astype(np.float32)


def check_sizes(expected, path):
    """An exported model equals that of PyTorch at sizes of all kinds."""
    detector, spread = ChangeDetector.from_onnx(path, threads=1), []
    for n, shape in enumerate([(1, 64, 64), (2, 33, 97), (3, 20, 31), (1, 1, 1), (1, 1, 70), (1, 160, 96)]):
        t1, t2 = images(2 * n, *shape), images(2 * n + 1, *shape)
        probs = detector.probs(t1, t2, channel_order='bgr')
        np.testing.assert_allclose(probs, expected.probs(t1, t2, channel_order='bgr'), atol=1e-4)
        spread.append(probs.std())
    assert max(spread) > 0.05  # the comparison says nothing about constants


def test_hsonet_at_any_size(tiny_checkpoint, tiny_onnx):
    check_sizes(ChangeDetector.from_checkpoint(*tiny_checkpoint), tiny_onnx)


def test_calibrated_model_at_any_size(exported):
    config, checkpoint, path, _ = exported
    expected = ChangeDetector.from_checkpoint(config, checkpoint)
    assert expected.temperature == 1.7
    check_sizes(expected, path)
    detector = ChangeDetector.from_onnx(path)
    assert detector.temperature == 1.0  # it is in the graph
    assert (detector.threshold, detector.threshold_source) == (
        0.42,
        'calibrated for the best F1 on validation pairs',
    )


def test_what_the_file_says(exported):
    model = onnx.load(exported[2])
    props = {prop.key: prop.value for prop in model.metadata_props}
    ours = json.loads(props['hsonet_mm'])
    assert ours['temperature'] == 1.7
    assert ours['classes'] == ['unchanged', 'changed']
    assert ours['bands'] == ['red t1', 'green t1', 'blue t1', 'red t2', 'green t2', 'blue t2']
    assert ours['crop_size'] == 64
    assert ours['name'] == 'tiny.py calibrated.pth'
    # what the QGIS plugin Deepness reads, each a JSON text
    assert json.loads(props['model_type']) == 'Segmentor'
    assert json.loads(props['class_names']) == {'0': 'unchanged', '1': 'changed'}
    assert json.loads(props['seg_thresh']) == 0.42
    assert json.loads(props['tile_size']) == 64
    assert len(json.loads(props['standardization_std'])) == 6
    assert b'site-packages' not in exported[2].read_bytes()  # nothing of the machine it was made on
    assert str(exported[0].parent).encode() not in exported[2].read_bytes()
    (opset,) = (one.version for one in model.opset_import if one.domain == '')
    assert (opset, model.ir_version) == (18, 8)
    onnx.checker.check_model(model)


def test_the_graph_takes_raw_bands(exported):
    """What another program sees: one input of red, green, blue of both dates, 0 to 255."""
    session = onnxruntime.InferenceSession(str(exported[2]))
    (pair,), (probs,) = session.get_inputs(), session.get_outputs()
    assert (pair.name, pair.type, pair.shape) == ('pair', 'tensor(float)', ['batch', 6, 'height', 'width'])
    assert (probs.name, probs.type, probs.shape) == (
        'probs',
        'tensor(float)',
        ['batch', 1, 'height', 'width'],
    )
    t1, t2 = images(1, 1, 40, 50), images(2, 1, 40, 50)
    bands = bands_of(t1, t2)
    expected = ChangeDetector.from_onnx(exported[2]).probs(t1, t2, channel_order='bgr')
    # as Deepness does it: float32(bytes / 255), then (x - mean) / std with the deviation of the metadata
    deepness = np.float32(bands / 255) / np.float32(1 / 255)
    for given in (bands, deepness.astype(np.float32)):
        np.testing.assert_allclose(session.run(None, {'pair': given})[0][:, 0], expected, atol=1e-4)


def test_two_channels_bgr_and_one_tile_size(tmp_path, write_random, capsys):
    config, checkpoint = write_random(tmp_path, 300, TWO_CHANNELS)
    path = tmp_path / 'tiles.onnx'
    options = ('--tile', 48, '--threshold', 0.3, '--opset', 13)
    assert run(config, checkpoint, '-o', path, *options) == 0
    detector = ChangeDetector.from_onnx(path)
    assert (detector.threshold, detector.threshold_source) == (0.3, 'given on export')
    t1, t2 = images(1, 2, 48, 48), images(2, 2, 48, 48)
    expected = ChangeDetector.from_checkpoint(config, checkpoint).probs(t1, t2, channel_order='bgr')
    np.testing.assert_allclose(detector.probs(t1, t2, channel_order='bgr'), expected, atol=1e-4)
    swapped = detector.probs(t1[..., ::-1], t2[..., ::-1], channel_order='bgr')
    assert abs(swapped - expected).max() > 1e-2  # the order of the bands matters
    shape = onnxruntime.InferenceSession(str(path)).get_inputs()[0].shape
    assert shape == ['batch', 6, 48, 48]
    # A smaller image is reflected up to the tile, the only size that the model takes.
    smaller = ChangeDetector.from_onnx(path).predict(*(x[0, :40, :24] for x in (t1, t2)), channel_order='bgr')
    rows, columns = np.r_[:40, 38:30:-1], np.r_[:24, 22:-1:-1, 1:2][:48]
    mirrored = [x[0][np.ix_(rows, columns)][None] for x in (t1, t2)]
    np.testing.assert_allclose(
        smaller.probs, detector.probs(*mirrored, channel_order='bgr')[0, :40, :24], atol=1e-6
    )
    # The command names no option that such a model refuses.
    dates = [tmp_path / 'before.png', tmp_path / 'after.png']
    for date, image in zip(dates, (t1, t2), strict=True):
        Image.fromarray(image[0, :40, :24]).save(date)
    capsys.readouterr()
    assert main(['predict', str(path), *map(str, dates), '--out', str(tmp_path / 'out')]) == 0
    windows, _ = capsys.readouterr().out.splitlines()
    assert windows == '1 of 1 in sliding windows of 48 x 48 pixels that share 12'


def test_program_of_torch_export(exported, tmp_path, monkeypatch, capsys):
    config, checkpoint, _, program = exported
    monkeypatch.setattr(pipeline, 'trace', lambda *_: program)  # tracing takes long
    path = tmp_path / 'model.pt2'
    assert run(config, checkpoint, '-o', path) == 0
    says = 'from PyTorch; threshold 0.42 (calibrated (calibrated.pth.calibration.json)), temperature 1.7'
    assert says in capsys.readouterr().out
    extra = {formats.EXTRA_FILE: ''}
    module = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=extra).module()
    expected = ChangeDetector.from_checkpoint(config, checkpoint)
    for shape in ((2, 37, 50), (1, 64, 96)):  # the second one needs no padding
        t1, t2 = images(1, *shape), images(2, *shape)
        probs = module(torch.from_numpy(bands_of(t1, t2))).detach()[:, 0].numpy()
        np.testing.assert_allclose(probs, expected.probs(t1, t2, channel_order='bgr'), atol=1e-5)
    assert json.loads(json.loads(extra[formats.EXTRA_FILE])['hsonet_mm'])['threshold'] == 0.42


@pytest.mark.parametrize('package', ['onnx', 'onnxscript'])
def test_missing_package(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf'needs the package {package}: pip install "hsonet_mm\[export\]"'):
        formats.to_onnx(None, None)
