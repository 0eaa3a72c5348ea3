"""Models that come with the package: one file for PyTorch and ONNX Runtime, by name, without config and checkpoint."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from hsonet_mm import ChangeDetector, pretrained
from hsonet_mm.checkpoints import read_checkpoint
from hsonet_mm.cli import main
from hsonet_mm.commands.options import split_model
from hsonet_mm.errors import UserError
from hsonet_mm.exported.onnx_file import read_props, read_weights
from hsonet_mm.inference.calibration import Calibration, write_calibration

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')

GROUND = ('--ground-resolution', '0.5', '1')


@pytest.fixture(scope='module')
def calibrated(tmp_path_factory, tiny_checkpoint):
    """The tiny model with a calibration beside it."""
    config, checkpoint = tiny_checkpoint
    copy = tmp_path_factory.mktemp('calibrated') / 'tiny.pth'
    copy.write_bytes(checkpoint.read_bytes())
    write_calibration(copy, Calibration(temperature=1.7, threshold=0.42), {})
    return config, copy


@pytest.fixture(scope='module')
def packed(tmp_path_factory, calibrated):
    """The same as one file with weights in half precision."""
    path = tmp_path_factory.mktemp('packed') / 'buildings.onnx'
    assert main(['export', *map(str, calibrated), '-o', str(path), '--fp16', *GROUND]) == 0
    return path


@pytest.fixture
def shipped(packed, monkeypatch):
    """A package in which it is the model that ships."""
    monkeypatch.setattr(pretrained, 'FOLDER', packed.parent)
    return packed


@pytest.fixture
def pair():
    return np.random.default_rng(0).integers(0, 256, (2, 2, 70, 100, 3), dtype=np.uint8)


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(1)
    paths = [tmp_path / 'before.png', tmp_path / 'after.png']
    for path in paths:
        cv2.imwrite(str(path), cv2.resize(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8), (96, 64)))
    return paths


def rounded(weight):
    return weight.half().float() if weight.ndim > 1 else weight


class TestFile:
    def test_weights_are_those_of_the_checkpoint_by_name(self, packed, calibrated):
        expected = torch.load(calibrated[1], weights_only=True)['state_dict']
        state = read_checkpoint(packed).state
        assert state.keys() == expected.keys()
        for name, weight in expected.items():
            if not name.endswith('num_batches_tracked'):  # which no prediction depends on
                torch.testing.assert_close(state[name], rounded(weight), rtol=0, atol=0)

    def test_kernels_take_two_bytes_a_value(self, packed, calibrated):
        state = torch.load(calibrated[1], weights_only=True)['state_dict']
        kinds = {one.name: one.data_type for one in onnx.load(packed).graph.initializer}
        for name, weight in state.items():
            if not name.endswith('num_batches_tracked'):
                half = kinds[f'state_dict/{name}'] == onnx.TensorProto.FLOAT16
                assert half == (weight.ndim > 1), name

    def test_what_is_read_from_the_bytes_is_what_onnx_reads(self, packed):
        content = packed.read_bytes()
        model = onnx.load_from_string(content)
        assert read_props(content) == {prop.key: prop.value for prop in model.metadata_props}
        floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        expected = {one.name: one for one in model.graph.initializer if one.data_type in floats}
        weights = read_weights(content)
        assert weights.keys() == expected.keys()
        for name, values in weights.items():
            np.testing.assert_array_equal(values, onnx.numpy_helper.to_array(expected[name]))

    @pytest.mark.parametrize('length', [-1, -1000, 20])
    def test_a_file_that_is_cut_off(self, packed, tmp_path, length):
        path = tmp_path / 'short.onnx'
        path.write_bytes(packed.read_bytes()[:length])
        for runtime in ('pytorch', 'onnxruntime'):
            with pytest.raises(
                UserError, match=r'short\.onnx (is no ONNX model, or truncated|was not written)'
            ):
                ChangeDetector.from_onnx(path, runtime=runtime)

    def test_same_bytes_again(self, packed, calibrated, tmp_path):
        path = tmp_path / 'again.onnx'
        assert main(['export', *map(str, calibrated), '-o', str(path), '--fp16', *GROUND]) == 0
        assert path.read_bytes() == packed.read_bytes()

    def test_only_onnx_and_not_with_int8(self, calibrated, tmp_path, hsonet):
        for options in (['-o', tmp_path / 'm.pt2'], ['-o', tmp_path / 'm.onnx', '--int8']):
            code, _, stderr = hsonet('export', *calibrated, '--fp16', *options)
            assert code == 2
            assert '--fp16 is for ONNX and without --int8' in stderr

    def test_ground_resolution_that_cannot_be(self, calibrated, tmp_path, hsonet):
        options = ('--ground-resolution', '1', '0.5')
        code, _, stderr = hsonet('export', *calibrated, '-o', tmp_path / 'm.onnx', *options)
        assert code == 2
        assert '--ground-resolution 1 0.5: expected two sizes in metres, the smaller first' in stderr

    def test_a_plain_export_is_not_for_pytorch(self, tiny_onnx):
        with pytest.raises(UserError, match='export it with --fp16'):
            ChangeDetector.from_onnx(tiny_onnx, runtime='pytorch')


class TestRuntimes:
    def test_equal_probabilities(self, shipped, calibrated, pair):
        in_torch, in_onnx = (ChangeDetector.pretrained(runtime=name) for name in ('pytorch', 'onnxruntime'))
        probs = in_torch.probs(*pair, channel_order='rgb')
        assert probs.std() > 0.05  # the comparison says nothing about constants
        np.testing.assert_allclose(in_onnx.probs(*pair, channel_order='rgb'), probs, atol=1e-5)
        single = ChangeDetector.from_checkpoint(*calibrated).probs(*pair, channel_order='rgb')
        np.testing.assert_allclose(probs, single, atol=0.02)  # what rounding the weights costs
        assert abs(probs - single).max() > 0
        assert shipped.name == in_torch.name == in_onnx.name

    @pytest.mark.usefixtures('shipped')
    def test_they_say_the_same(self):
        in_torch, in_onnx = (ChangeDetector.pretrained(runtime=name) for name in ('pytorch', 'onnxruntime'))
        assert 'torch' in in_torch.versions
        assert 'onnxruntime' in in_onnx.versions
        for detector in (in_torch, in_onnx):
            assert detector.threshold == 0.42
            assert detector.threshold_source == 'calibrated (tiny.pth.calibration.json)'
            assert detector.window.size == 64
            assert detector.model.ground_resolution == (0.5, 1.0)

    @pytest.mark.usefixtures('shipped')
    def test_pytorch_where_all_of_it_is_there(self, monkeypatch):
        assert 'torch' in ChangeDetector.pretrained().versions
        absent = SimpleNamespace(name='')
        for name in ('torch', 'mmengine', 'mmcv', 'mmseg'):
            absent.name = name
            monkeypatch.setattr(pretrained, 'find_spec', lambda name: None if name == absent.name else name)
            assert 'onnxruntime' in ChangeDetector.pretrained().versions

    def test_exports_of_it_are_the_same_model(self, shipped, pair, tmp_path, hsonet):
        path = tmp_path / 'tiles.onnx'
        assert hsonet('export', 'buildings', '-o', path, '--tile', '64')[0] == 0
        tiles, whole = ChangeDetector.from_onnx(path), ChangeDetector.from_onnx(shipped)
        cut = pair[:, :, :64, :64]
        np.testing.assert_allclose(
            tiles.probs(*cut, channel_order='rgb'), whole.probs(*cut, channel_order='rgb'), atol=1e-5
        )
        assert (tiles.threshold, tiles.model.metadata.temperature) == (0.42, 1.7)
        assert tiles.model.ground_resolution == (0.5, 1.0)


class TestCommands:
    def test_predict_without_a_model(self, shipped, images, tmp_path, hsonet):
        results = []
        for model in ([], ['--model', 'buildings'], ['--model', shipped], [shipped]):
            out = tmp_path / f'out{len(results)}'
            arguments = [*model, *images] if model == [shipped] else [*images, *model]
            code, stdout, stderr = hsonet('predict', *arguments, '-o', out)
            assert code == 0, stderr
            assert 'threshold 0.42 (calibrated (tiny.pth.calibration.json))' in stdout
            results.append(cv2.imread(str(out / 'after_prob.png'), cv2.IMREAD_UNCHANGED))
        expected = ChangeDetector.from_onnx(shipped).predict(*images).probs
        for probs in results:
            np.testing.assert_allclose(probs / 255, expected, atol=0.5 / 255 + 1e-4)

    def test_a_model_that_is_not_there(self, shipped, images, tmp_path, hsonet):
        assert shipped.is_file()
        code, _, stderr = hsonet('predict', *images, '-o', tmp_path / 'out', '--model', 'roads')
        assert code == 2
        assert "'roads' is no model that comes with hsonet_mm (there is buildings): give" in stderr

    def test_no_model_at_all(self, images, tmp_path, hsonet, monkeypatch):
        monkeypatch.setattr(pretrained, 'FOLDER', tmp_path)
        code, _, stderr = hsonet('predict', *images, '-o', tmp_path / 'out')
        assert code == 2
        assert '(there is none in this installation)' in stderr


class TestArguments:
    DATES = ('the image before', 'the image after')

    @pytest.mark.parametrize(
        ('arguments', 'model', 'files'),
        [
            (['a.png', 'b.png'], None, ('buildings',)),
            (['a.png', 'b.png'], 'm.onnx', ('m.onnx',)),
            (['m.onnx', 'a.png', 'b.png'], None, ('m.onnx',)),
            (['M.ONNX', 'a.png', 'b.png'], None, ('M.ONNX',)),
            (['c.py', 'c.pth', 'a.png', 'b.png'], None, ('c.py', 'c.pth')),
        ],
    )
    def test_what_is_the_model(self, arguments, model, files):
        assert split_model(arguments, model, self.DATES) == (files, ['a.png', 'b.png'])

    @pytest.mark.parametrize(
        ('arguments', 'model', 'sentence'),
        [
            (['a.png'], None, 'too few files: give the image before and the image after, with --model'),
            (['c.py', 'c.pth'], None, 'c.py stands where the image before and the image after should'),
            (['m.onnx', 'a.png'], None, 'm.onnx stands where'),
            (['c.py', 'a.png', 'b.png'], None, 'c.py is no model'),
            (['c.py', 'c.pth', 'c.pth', 'a', 'b'], None, 'c.py c.pth c.pth is no model'),
            (['m.onnx', 'a.png', 'b.png'], 'buildings', '--model buildings: m.onnx is one model too many'),
            (['a.png'], 'buildings', '--model buildings: too few files'),
        ],
    )
    def test_what_is_not(self, arguments, model, sentence):
        with pytest.raises(UserError, match='^' + sentence.replace('.', r'\.')):
            split_model(arguments, model, self.DATES)

    def test_a_list_of_scenes_needs_a_model_alone(self):
        assert split_model([], None, ()) == (('buildings',), [])
        assert split_model(['m.onnx'], None, ()) == (('m.onnx',), [])
        with pytest.raises(UserError, match=r'^a\.tif is no model'):
            split_model(['a.tif'], None, ())
