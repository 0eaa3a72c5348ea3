"""The way to an exported model: bad arguments, and models that differ, do not run or cannot be traced or written."""

import argparse

import numpy as np
import pytest

from hsonet_mm import ChangeDetector
from hsonet_mm.commands import export as command
from hsonet_mm.errors import UserError
from hsonet_mm.export import pipeline

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')


def run(*args):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(arg) for arg in args]))


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
