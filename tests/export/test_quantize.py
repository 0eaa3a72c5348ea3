"""Models in 8 bits: what is quantised, how it is scored, and that no model that lost too much is written."""

import json

import numpy as np
import pytest

from hsonet_mm import ChangeDetector
from hsonet_mm.export import pipeline
from hsonet_mm.export.quantize import cut, quantize, score

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')


def pieces(count, side=32, seed=0):
    """Pairs of noise, changed in their left half."""
    rng = np.random.default_rng(seed)
    label = np.zeros((side, side), np.uint8)
    label[:, : side // 2] = 1
    return [(*rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8), label) for _ in range(count)]


def convolutions():
    """Two convolutions of random weights between pair and probs."""
    helper, kind = onnx.helper, onnx.TensorProto
    rng = np.random.default_rng(0)
    weights = 0.001 * rng.normal(size=(8, 6, 3, 3))
    second = rng.normal(size=(1, 8, 1, 1))
    graph = helper.make_graph(
        [
            helper.make_node('Conv', ['pair', 'w1'], ['a'], pads=[1, 1, 1, 1]),
            helper.make_node('Relu', ['a'], ['b']),
            helper.make_node('Conv', ['b', 'w2'], ['c']),
            helper.make_node('Sigmoid', ['c'], ['probs']),
        ],
        'convolutions',
        [helper.make_tensor_value_info('pair', kind.FLOAT, ('n', 6, 'h', 'w'))],
        [helper.make_tensor_value_info('probs', kind.FLOAT, ('n', 1, 'h', 'w'))],
        [
            onnx.numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in (('w1', weights), ('w2', second))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    helper.set_model_props(model, {'key': 'value'})
    return model.SerializeToString()


def run_onnx(content, t1, t2):
    pair = np.concatenate([t1[..., ::-1], t2[..., ::-1]], axis=2).transpose(2, 0, 1)[None]
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    return session.run(None, {'pair': pair.astype(np.float32)})[0]


class TestQuantize:
    def test_stays_near_and_keeps_what_it_says(self):
        content = convolutions()
        quantised = quantize(content, pieces(4))
        t1, t2, _ = pieces(1, seed=9)[0]
        before, after = run_onnx(content, t1, t2), run_onnx(quantised, t1, t2)
        assert before.std() > 0.04
        assert abs(before - after).mean() < 0.02
        model = onnx.load_from_string(quantised)
        assert {prop.key: prop.value for prop in model.metadata_props}['key'] == 'value'
        onnx.checker.check_model(model, full_check=True)

    def test_every_convolution_computes_in_8_bits(self):
        model = onnx.load_from_string(quantize(convolutions(), pieces(2)))
        makers = {output: node.op_type for node in model.graph.node for output in node.output}
        found = [node for node in model.graph.node if node.op_type == 'Conv']
        assert len(found) == 2
        for node in found:
            assert [makers[name] for name in node.input[:2]] == ['DequantizeLinear'] * 2
        kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
        assert kinds == {onnx.TensorProto.INT8}


class TestCut:
    def test_each_pixel_comes_once(self):
        height, width = 530, 1100
        label = np.arange(height * width, dtype=np.uint32).reshape(height, width)
        image = np.zeros((height, width, 3), np.uint8)
        found = list(cut([(image, image, label)], None))
        assert sum(piece[2].size for piece in found) == height * width
        assert len(np.unique(np.concatenate([piece[2].ravel() for piece in found]))) == height * width
        assert max(max(piece[2].shape) for piece in found) <= 512

    def test_tiles_of_one_size_are_filled_up_with_what_does_not_count(self):
        t1, t2, label = pieces(1, side=40)[0]
        found = list(cut([(t1, t2, label)], 32))
        assert [piece[0].shape for piece in found] == [(32, 32, 3)] * 4
        assert sum((piece[2] != 255).sum() for piece in found) == 40 * 40
        np.testing.assert_array_equal(found[3][0][:8, :8], t1[32:, 32:])
        assert (found[3][0][8:, :8] == t1[39, 32:]).all()


def test_score():
    t1, t2, label = pieces(1, side=4)[0]
    label = label.copy()
    label[0] = 255  # of the others six are changed, six are not
    probs = np.full((1, 4, 4), 0.25, np.float32)
    probs[:, 1, 0] = probs[:, 1, 2] = 0.75
    result = score(lambda *_: probs, [(t1, t2, label)] * 2, 0.5)
    assert (result.tp, result.fp, result.fn, result.tn) == (2, 2, 10, 10)
    assert score(lambda *_: probs, [(t1, t2, label)], 0.75).tp == 0  # above, not at the threshold


class TestCommand:
    @pytest.fixture
    def run(self, tiny_checkpoint, untraced, tmp_path, hsonet):
        """Run the command up to its exit code and streams."""
        del untraced
        target = tmp_path / 'int8.onnx'

        def run(*options):
            return target, *hsonet('export', *tiny_checkpoint, '-o', target, '--threshold', 0.3, *options)

        return run

    def test_writes_what_is_near_enough(self, run, monkeypatch, tiny_onnx, tiny_data):
        monkeypatch.setattr(pipeline, 'MOST_LOST', 1.0)  # two iterations make no network that stands 8 bits
        target, code, stdout, stderr = run('--int8', '--calibration-data', tiny_data)
        assert code == 0, stderr
        assert 'before quantisation at most' in stdout
        assert 'int8: changed F1 0.' in stdout
        assert 'on 2 validation pairs' in stdout
        assert target.stat().st_size < 0.6 * tiny_onnx.stat().st_size
        said = ChangeDetector.from_onnx(target).model.metadata.int8
        assert said['pairs'] == 2
        assert f'({100 * (said["f1"] - said["f1_float"]):+.2f} points)' in stdout
        props = {prop.key: prop.value for prop in onnx.load(target).metadata_props}
        assert json.loads(props['hsonet_mm'])['int8'] == said

    def test_equal_models_lose_nothing(self, run, monkeypatch):
        monkeypatch.setattr(pipeline, 'quantize', lambda content, _: content)
        target, code, stdout, _ = run('--int8')
        assert code == 0
        assert '(+0.00 points)' in stdout
        assert target.is_file()

    def test_refuses_what_lost_too_much(self, run, monkeypatch):
        def broken(content, _):
            model = onnx.load_from_string(content)
            output = model.graph.output[0].name
            for node in model.graph.node:
                node.output[:] = ['kept' if name == output else name for name in node.output]
            model.graph.node.append(onnx.helper.make_node('Sub', ['kept', 'kept'], [output]))
            return model.SerializeToString()

        monkeypatch.setattr(pipeline, 'quantize', broken)
        target, code, _, stderr = run('--int8')
        assert code == 2
        assert 'F1 on 2 validation pairs falls from 0.' in stderr
        assert 'to 0.0000' in stderr
        assert not target.exists()

    def test_a_packaged_model_alone_has_no_validation_pairs(self, tmp_path, hsonet):
        code, _, stderr = hsonet('export', 'buildings', '-o', tmp_path / 'int8.onnx', '--int8')
        assert code == 2
        assert stderr == (
            'error: the model by itself has no val_dataloader: give a config with a validation split\n'
        )

    def test_bad_arguments(self, run, tiny_checkpoint, tmp_path, hsonet):
        assert '--calibration-data requires --int8' in run('--calibration-data', tmp_path)[3]
        target, code, _, stderr = run('--int8', '--calibration-data', tmp_path / 'nowhere')
        assert code == 2
        assert 'nowhere' in stderr
        assert not target.exists()
        other = hsonet('export', *tiny_checkpoint, '-o', tmp_path / 'm.pt2', '--int8')
        assert other[0] == 2
        assert '--int8 requires ONNX' in other[2]
