"""Exported models: the same probabilities as PyTorch at any size, what they say of themselves, what cannot be."""

import argparse
import ast
import io
import json
import sys

import numpy as np
import pytest
import torch
from helpers import LIGHT, calibrated_copy
from PIL import Image

from hsonet_mm import ChangeDetector
from hsonet_mm.baselines.bit import BITHead
from hsonet_mm.cli import main
from hsonet_mm.commands import export as command
from hsonet_mm.errors import UserError
from hsonet_mm.export import formats, pipeline
from hsonet_mm.export.graph import PairToProbs, trace
from hsonet_mm.export.opset import NEWEST
from hsonet_mm.models.backbones.efficientnet_lite import SameConv2d
from hsonet_mm.models.layers import PyramidDecoder

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
def trained(tmp_path_factory, write_random):
    return write_random(tmp_path_factory.mktemp('trained'), 300, LIGHT)


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


@pytest.mark.parametrize(
    ('kernel', 'height', 'width'), [(3, 8, 8), (5, 8, 7), (5, 9, 12), (3, 1, 2), (5, 1, 1)]
)
def test_same_padding_of_the_exported_kernel(monkeypatch, kernel, height, width):
    """The form for exports, with a constant kernel, is the same convolution."""
    torch.manual_seed(0)
    conv = SameConv2d(4, 4, kernel, stride=2, groups=4)
    x = torch.randn(2, 4, height, width)
    expected = conv(x)
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    torch.testing.assert_close(conv(x), expected)


@pytest.fixture
def no_trace(monkeypatch):
    """Bad arguments are found before the slow part."""
    monkeypatch.setattr(pipeline, 'trace', lambda *_: pytest.fail('traced'))


@pytest.mark.usefixtures('no_trace')
def test_bad_arguments(trained, tmp_path):
    config, checkpoint = trained
    for args, sentence in [
        ((config, checkpoint, '-o', tmp_path / 'model'), r'expected a name that ends in \.onnx or \.pt2'),
        ((config, checkpoint, '-o', tmp_path / 'm.pth'), r'expected a name that ends in \.onnx or \.pt2'),
        ((config, checkpoint, '-o', tmp_path / 'm.onnx', '--threshold', 1), 'between 0 and 1'),
        ((config, checkpoint, '-o', tmp_path / 'm.onnx', '--tile', 0), '--tile 0'),
        ((config, checkpoint, '-o', tmp_path / 'm.onnx', '--tile', 4), 'every pixel 114 times'),  # (32 / 3)^2
        ((config, checkpoint, '-o', tmp_path / 'm.onnx', '--opset', 12), '--opset 12: expected 13 to 18'),
        ((config, checkpoint, '-o', tmp_path / 'm.onnx', '--opset', 21), '--opset 21: expected 13 to 18'),
        ((config, checkpoint, '-o', tmp_path / 'm.pt2', '--opset', 17), r'--opset 17 requires ONNX'),
        ((config, 'none.pth', '-o', tmp_path / 'm.onnx'), r'none\.pth does not exist'),
        (('none.py', checkpoint, '-o', tmp_path / 'm.onnx'), r'none\.py does not exist'),
    ]:
        with pytest.raises(UserError, match=sentence):
            run(*args)
    assert list(tmp_path.iterdir()) == []


def test_padding_to_a_fixed_size(trained, tmp_path):
    options = ('--cfg-options', 'model.data_preprocessor.test_cfg.size_divisor=None',
               'model.data_preprocessor.test_cfg.size=(64,64)')  # fmt: skip
    with pytest.raises(UserError, match='pads to a fixed size'):
        run(*trained, '-o', tmp_path / 'm.onnx', *options)


@pytest.fixture
def fake_trace(monkeypatch):
    """Exports bytes without tracing, and compares them with what the test says."""
    monkeypatch.setattr(pipeline, 'trace', lambda *_: None)
    monkeypatch.setattr(pipeline, 'to_program', lambda *_: b'program')


@pytest.mark.usefixtures('fake_trace')
@pytest.mark.parametrize('offset', [2e-4, np.nan])
def test_a_difference_is_refused(trained, tmp_path, monkeypatch, offset):
    class Off:
        def __init__(self, _):
            self.detector = ChangeDetector.from_checkpoint(*trained)

        def probs(self, t1, t2):
            return self.detector.probs(t1, t2, channel_order='bgr') + np.float32(offset)

    monkeypatch.setattr(pipeline, 'ProgramModel', Off)
    target = tmp_path / 'model.pt2'
    target.write_bytes(b'old')
    with pytest.raises(UserError, match=r'differs from PyTorch by .*model\.pt2 is not written'):
        run(*trained, '-o', target)
    assert target.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures('fake_trace')
def test_a_target_that_cannot_be_written(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, 'ProgramModel', lambda _: ChangeDetector.from_checkpoint(*trained).model)
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'folder .*file cannot be created'):
        run(*trained, '-o', tmp_path / 'file' / 'model.pt2')
    (tmp_path / 'folder.pt2').mkdir()
    with pytest.raises(UserError, match=r'folder\.pt2 cannot be written'):
        run(*trained, '-o', tmp_path / 'folder.pt2')


def test_a_model_that_cannot_be_traced(trained, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError('data-dependent branch\nand many lines')

    monkeypatch.setattr(pipeline, 'trace', fail)
    with pytest.raises(UserError, match=r'cannot be exported \(data-dependent branch\)'):
        run(*trained, '-o', tmp_path / 'm.onnx')


def test_the_reason_is_what_lies_at_the_bottom(trained, tmp_path, monkeypatch):
    def fail(*_):
        error = RuntimeError(f'An error occurred when running {object()!r}')
        error.__cause__ = ValueError(f'no size for {object()!r} in Split')
        raise error

    monkeypatch.setattr(pipeline, 'trace', fail)
    with pytest.raises(UserError, match=r'cannot be exported \(no size for object in Split\): try --tile'):
        run(*trained, '-o', tmp_path / 'm.onnx')


@pytest.mark.usefixtures('fake_trace')
def test_an_exported_model_that_does_not_run(trained, tmp_path, monkeypatch):
    class Broken:
        def __init__(self, _):
            pass

        def probs(self, *_):
            raise RuntimeError('[ONNXRuntimeError] : 6 : Where node\nmore lines')

    monkeypatch.setattr(pipeline, 'ProgramModel', Broken)
    with pytest.raises(
        UserError, match=r'does not run \(\[ONNXRuntimeError\] : 6 : Where node\), so .* not written'
    ):
        run(*trained, '-o', tmp_path / 'm.pt2')
    assert not (tmp_path / 'm.pt2').exists()


class _Pyramid(torch.nn.Module):
    """FarSeg's decoder on a pyramid that is made of its coarsest level."""

    def __init__(self):
        super().__init__()
        self.decoder = PyramidDecoder([8, 8, 8], 8, {'type': 'BN'})

    def forward(self, x):
        return self.decoder([x.repeat_interleave(k, 2).repeat_interleave(k, 3) for k in (4, 2, 1)])


def test_heads_export_for_any_batch_and_size():
    """Halves of a batch, which the translator to ONNX did not take, and a set of sizes, which the tracer did not."""
    torch.manual_seed(0)
    loss = {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True}
    common = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.5, 'loss_decode': loss}
    bit = BITHead(16, 8, 8, num_heads=2, dec_depth=1, **common).eval()
    dims = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    for module, wrap, channels in ((bit, lambda x: [x], 32), (_Pyramid().eval(), lambda x: x, 8)):
        example, other = torch.randn(3, channels, 5, 7), torch.randn(2, channels, 8, 4)
        shapes = (wrap(dims),)
        program = torch.export.export(module, (wrap(example),), dynamic_shapes=shapes, strict=False)
        translated = torch.onnx.export(program, opset_version=NEWEST, dynamo=True, verbose=False)
        content = translated.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
        with torch.no_grad():
            expected = module(wrap(other)).numpy()
        (values,) = session.run(None, {session.get_inputs()[0].name: other.numpy()})
        np.testing.assert_allclose(values, expected, atol=1e-5)


@pytest.mark.parametrize('package', ['onnx', 'onnxscript'])
def test_missing_package(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf'needs the package {package}: pip install "hsonet_mm\[export\]"'):
        formats.to_onnx(None, None)


def test_no_torch_in_what_runs_exported_models(repo):
    for name in (
        'inference/batches.py',
        'inference/detector.py',
        'inference/models.py',
        'inference/opening.py',
        'inference/resolution.py',
        'inference/window_choice.py',
        'inference/onnx_model.py',
        'inference/calibration.py',
        'exported/metadata.py',
        'images/files.py',
        'images/pixels.py',
        'windows.py',
        'memory.py',
    ):
        tree = ast.parse((repo / 'hsonet_mm' / name).read_text())
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {alias.name for node in top for alias in node.names} | {
            getattr(node, 'module', '') for node in top
        }
        assert not any(one.startswith(('torch', 'mm')) for one in names), name


def test_kernels_of_same_padding_are_constant():
    """ONNX Runtime prepares the kernels of convolutions that are constants, which it needs to be fast."""
    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    conv, x = SameConv2d(3, 4, 3, stride=2).eval(), torch.zeros(1, 3, 20, 31)
    program = torch.export.export(conv, (x,), dynamic_shapes=(sides,), strict=False)
    graph = torch.onnx.export(program, opset_version=NEWEST, dynamo=True, verbose=False).model_proto.graph
    kernels = {node.input[1] for node in graph.node if node.op_type == 'Conv'}
    assert kernels
    assert kernels <= {one.name for one in graph.initializer}


def test_what_is_traced_is_the_detector(trained):
    detector = ChangeDetector.from_checkpoint(*trained)
    t1, t2 = images(1, 2, 37, 50), images(2, 2, 37, 50)
    with torch.no_grad():
        probs = PairToProbs(detector.model.network)(torch.from_numpy(bands_of(t1, t2)))
    np.testing.assert_allclose(probs[:, 0], detector.probs(t1, t2, channel_order='bgr'), atol=1e-5)


def test_normalisation_without_mean(trained):
    network = ChangeDetector.from_checkpoint(*trained).model.network
    del network.data_preprocessor.mean, network.data_preprocessor.std
    module = PairToProbs(network)
    assert module.mean.abs().sum() == 0
    assert (module.std == 1).all()
