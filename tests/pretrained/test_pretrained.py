"""Models that come with the package: one file for PyTorch and ONNX Runtime, by name, without config and checkpoint."""

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import LIGHT, calibrated_copy

from hsonet_mm import ChangeDetector, pretrained
from hsonet_mm.checkpoints import load_fitting, read_checkpoint
from hsonet_mm.commands import pack as pack_command
from hsonet_mm.commands import score as score_command
from hsonet_mm.config import read_config
from hsonet_mm.datasets.labelled_pairs import LabelledPairs
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.perturbations import PERTURBATIONS
from hsonet_mm.export import pipeline
from hsonet_mm.exported.onnx_file import read_props, read_weights
from hsonet_mm.inference.calibration import Calibration, write_calibration

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')

GROUND = ('--ground-resolution', '0.5', '1')
PLACE = Path(pretrained.__file__).parent


def pack(folder, model):
    """Put a model into a folder that stands in for that of the package, with the card of the one that ships."""
    for name in ('buildings.md', 'LICENSE.txt'):
        shutil.copy(PLACE / name, folder)
    (folder / 'buildings.json').write_text('{"scores": [], "perturbed": []}')
    parser = argparse.ArgumentParser()
    pack_command.add_arguments(parser)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, 'FOLDER', folder)
        assert pack_command.run(parser.parse_args(['buildings', *map(str, model), *GROUND])) == 0
    return folder / 'buildings.onnx'


@pytest.fixture(scope='module')
def calibrated(tmp_path_factory, write_random):
    """A light model with a calibration beside it."""
    config, checkpoint = write_random(tmp_path_factory.mktemp('random'), 300, LIGHT)
    return config, calibrated_copy(checkpoint, tmp_path_factory.mktemp('calibrated') / 'tiny.pth')


@pytest.fixture(scope='module')
def packed(tmp_path_factory, calibrated):
    """The same as one file with weights in half precision."""
    return pack(tmp_path_factory.mktemp('packed'), calibrated)


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
            with pytest.raises(UserError, match=r'short\.onnx (is not an ONNX model|was not written)'):
                ChangeDetector.from_onnx(path, runtime=runtime)

    def test_same_bytes_again(self, packed, calibrated, tmp_path):
        assert pack(tmp_path, calibrated).read_bytes() == packed.read_bytes()

    def test_only_onnx_and_not_with_int8(self, calibrated, tmp_path, hsonet):
        for options in (['-o', tmp_path / 'm.pt2'], ['-o', tmp_path / 'm.onnx', '--int8']):
            code, _, stderr = hsonet('export', *calibrated, '--fp16', *options)
            assert code == 2
            assert '--fp16 requires ONNX and excludes --int8' in stderr

    def test_ground_resolution_that_cannot_be(self, calibrated, tmp_path, hsonet):
        options = ('--ground-resolution', '1', '0.5')
        code, _, stderr = hsonet('export', *calibrated, '-o', tmp_path / 'm.onnx', *options)
        assert code == 2
        assert 'error: invalid --ground-resolution 1 0.5: expected' in stderr

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
            assert detector.threshold_source == 'calibrated for the best F1 on validation pairs'
            assert detector.window.size == 64
            assert detector.model.ground_resolution == (0.5, 1.0)

    def test_without_pytorch(self, shipped, images, tmp_path, tool_env):
        """Where neither PyTorch, nor OpenMMLab, nor ONNX can be imported, the command predicts the same."""
        absent = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmseg', 'onnx', 'onnxscript')
        code = (
            f'import sys; sys.modules.update(dict.fromkeys({absent}))\n'
            'from pathlib import Path\n'
            'from hsonet_mm import pretrained\n'
            f'pretrained.FOLDER = Path({str(shipped.parent)!r})\n'
            'from hsonet_mm.cli import main\n'
            f'sys.exit(main(["models"]) or main({["predict", *map(str, images), "-o", str(tmp_path / "out")]!r}))'
        )
        done = subprocess.run(
            [sys.executable, '-c', code], env=tool_env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        probs = cv2.imread(str(tmp_path / 'out' / 'after_prob.png'), cv2.IMREAD_UNCHANGED)
        expected = ChangeDetector.pretrained(runtime='pytorch').predict(*images).probs
        np.testing.assert_allclose(probs / 255, expected, atol=0.5 / 255 + 1e-4)

    @pytest.mark.usefixtures('shipped')
    def test_default(self, monkeypatch):
        """ONNX Runtime on a CPU; PyTorch, where all of it is there, for the rest and where ONNX Runtime is missing."""
        absent = list[str]()
        monkeypatch.setattr(pretrained, 'find_spec', lambda name: None if name in absent else name)
        assert 'onnxruntime' in ChangeDetector.pretrained().versions
        assert 'torch' in ChangeDetector.pretrained(precision='fp32').versions
        assert pretrained.default_runtime('cuda:1') == 'pytorch'
        assert pretrained.default_runtime('tensorrt') == 'onnxruntime'
        absent[:] = ['onnxruntime']
        assert 'torch' in ChangeDetector.pretrained().versions
        for name in ('torch', 'mmengine', 'mmcv', 'mmseg'):
            absent[:] = [name]
            assert pretrained.default_runtime('cuda') == 'onnxruntime'

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
        assert tiles.model.metadata.licence == (PLACE / 'LICENSE.txt').read_text().strip()


class TestCommands:
    def test_predict_without_a_model(self, shipped, images, tmp_path, hsonet):
        results = []
        for model in ([], ['--model', 'buildings'], ['--model', shipped], [shipped]):
            out = tmp_path / f'out{len(results)}'
            arguments = [*model, *images] if model == [shipped] else [*images, *model]
            code, stdout, stderr = hsonet('predict', *arguments, '-o', out)
            assert code == 0, stderr
            assert 'threshold 0.42 (calibrated for the best F1 on validation pairs)' in stdout
            results.append(cv2.imread(str(out / 'after_prob.png'), cv2.IMREAD_UNCHANGED))
        expected = ChangeDetector.from_onnx(shipped).predict(*images).probs
        for probs in results:
            np.testing.assert_allclose(probs / 255, expected, atol=0.5 / 255 + 1e-4)

    def test_a_model_that_is_not_there(self, shipped, images, tmp_path, hsonet):
        assert shipped.is_file()
        code, _, stderr = hsonet('predict', *images, '-o', tmp_path / 'out', '--model', 'roads')
        assert code == 2
        assert "invalid model 'roads': expected buildings, " in stderr

    def test_no_model_at_all(self, images, tmp_path, hsonet, monkeypatch):
        monkeypatch.setattr(pretrained, 'FOLDER', tmp_path)
        code, _, stderr = hsonet('predict', *images, '-o', tmp_path / 'out')
        assert code == 2
        assert "no model 'buildings' comes with this installation: give a config" in stderr


class TestCards:
    @pytest.mark.usefixtures('shipped')
    def test_list(self, hsonet):
        code, stdout, _ = hsonet('models')
        assert code == 0
        assert stdout.startswith('buildings: Buildings that were built or torn down')
        assert 'for pixels of 0.5 to 1 m, the default)' in stdout

    @pytest.mark.usefixtures('shipped')
    def test_card_of_a_model_that_is_not_there(self, hsonet):
        code, _, stderr = hsonet('models', 'roads')
        assert code == 2
        assert stderr == "error: invalid model 'roads': expected one of: buildings\n"

    def test_no_model(self, tmp_path, hsonet, monkeypatch):
        monkeypatch.setattr(pretrained, 'FOLDER', tmp_path)
        assert hsonet('models')[:2] == (0, 'No model comes with this installation.\n')
        code, _, stderr = hsonet('models', 'buildings')
        assert code == 2
        assert "no model 'buildings' comes with this installation: give" in stderr

    @pytest.mark.usefixtures('shipped')
    def test_card(self, hsonet, repo):
        _, card, _ = hsonet('models', 'buildings')
        for fact in (
            '| Ground resolution | 0.5 to 1 m |',
            '| Training crops | 64 x 64 pixels, which is the default window |',
            '| Threshold | 0.42 (calibrated for the best F1 on validation pairs) |',
            '| Calibration | temperature 1.7 |',
            'Not measured yet.',
        ):
            assert fact in card
        terms = card.partition('## Licence of the weights')[2]
        assert terms.strip() == (PLACE / 'LICENSE.txt').read_text().strip()
        assert '{' not in card
        spec = importlib.util.spec_from_file_location('model_cards', repo / 'docs/model_cards.py')
        hook = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(hook)
        page = hook.on_page_markdown('# Models\n\n<!-- models -->\n')
        assert page.startswith('# Models\n\n## Buildings')
        assert '\n### Licence of the weights\n' in page
        assert hook.on_page_markdown('another page') == 'another page'

    @pytest.mark.usefixtures('untraced')
    def test_a_model_that_is_too_large(self, tiny_onnx, tiny_checkpoint, tmp_path, monkeypatch):
        monkeypatch.setattr(pack_command, 'MOST_BYTES', tiny_onnx.stat().st_size // 2)
        monkeypatch.setattr(pipeline, 'TOLERANCE', 0.1)  # the graph that is there has single precision
        with pytest.raises(UserError, match=r'takes [\d,]+ bytes \(limit [\d,]+\)'):
            pack(tmp_path, tiny_checkpoint)
        assert not (tmp_path / 'buildings.onnx').exists()

    def test_a_model_without_a_card(self, calibrated, tmp_path, monkeypatch):
        monkeypatch.setattr(pretrained, 'FOLDER', tmp_path)
        parser = argparse.ArgumentParser()
        pack_command.add_arguments(parser)
        with pytest.raises(UserError, match=r'roads\.md does not exist: write the model card'):
            pack_command.run(parser.parse_args(['roads', *map(str, calibrated), *GROUND]))


class TestScores:
    """Figures of the model by its name: of the command, of the detector, and in the card."""

    @pytest.fixture
    def expected(self, packed, calibrated):
        """Precision, recall and F1 over all pixels of the test split, by the detector in ONNX Runtime."""
        detector = ChangeDetector.from_onnx(packed)
        hit = called = changed = 0
        for t1, t2, target in LabelledPairs(read_config(calibrated[0]), split='test'):
            mask = detector.predict(t1, t2, channel_order='bgr').mask
            hit += (mask & (target == 1)).sum()
            called += (mask & (target != 255)).sum()
            changed += (target == 1).sum()
        assert 0 < hit < called
        return hit / called, hit / changed, 2 * hit / (called + changed)

    def score(self, *args):
        parser = argparse.ArgumentParser()
        score_command.add_arguments(parser)
        return score_command.run(parser.parse_args([str(arg) for arg in args]))

    def test_by_name(self, shipped, calibrated, expected, hsonet, tmp_path, capsys):
        out, robust = tmp_path / 'test.json', tmp_path / 'robustness.json'
        code, _, stderr = hsonet('test', calibrated[0], 'buildings', '-o', out)
        assert code == 0, stderr
        scores = json.loads(out.read_text())
        for name, value in zip(('precision', 'recall', 'f1'), expected, strict=True):
            assert scores[name] == pytest.approx(value, abs=1e-3), name
        assert scores['threshold'] == 0.42
        # A calibration that changes nothing does not take the place of the temperature in the model.
        sidecar = write_calibration(shipped, Calibration(1.0, 0.42), {})
        code, _, stderr = hsonet('test', calibrated[0], 'buildings', '-o', tmp_path / 'again.json')
        assert code == 0, stderr
        assert json.loads((tmp_path / 'again.json').read_text())['counts'] == scores['counts']
        sidecar.unlink()
        capitals = shutil.copy(shipped, tmp_path / 'MODEL.ONNX')
        code, _, stderr = hsonet('test', calibrated[0], capitals, '-o', tmp_path / 'capitals.json')
        assert code == 0, stderr
        code, stdout, stderr = hsonet('robustness', calibrated[0], 'buildings', '-o', robust)
        assert code == 0, stderr
        rows = {row['name']: row for row in json.loads(robust.read_text())['rows']}
        assert list(rows) == list(PERTURBATIONS)
        assert rows['as they are']['f1'] == pytest.approx(expected[2], abs=1e-3)
        assert rows['as they are']['f1_difference'] == 0
        printed = stdout.partition('date 2 in autumn')[2].split()
        assert float(printed[2]) == pytest.approx(100 * rows['date 2 in autumn']['f1'], abs=0.005)
        assert self.score('buildings', 'tiny pairs', '--test', out, '--robustness', robust) == 0
        assert (
            self.score('buildings', 'tiny pairs', '--test', out) == 0
        )  # in the place of the row that is there
        figures = json.loads(shipped.with_suffix('.json').read_text())
        assert [row['data'] for row in figures['scores']] == ['tiny pairs']
        card = capsys.readouterr().out
        precision, recall, f1 = (f'{100 * scores[name]:.2f}' for name in ('precision', 'recall', 'f1'))
        assert f'| tiny pairs | 2 | {scores["threshold"]:.3f} | {precision} | {recall} | {f1} |' in card
        assert f'| as they are | {100 * rows["as they are"]["f1"]:.2f} |' in card
        shift = rows['date 2 shifted by 2 pixels']
        assert shift['perfect_f1'] < 1
        assert f'{100 * shift["f1"]:.2f} (perfect map {100 * shift["perfect_f1"]:.2f}) |' in card
        assert 'Not measured yet.' not in card
        shipped.with_suffix('.json').write_text('{"scores": [], "perturbed": []}')

    @pytest.mark.usefixtures('shipped')
    def test_what_are_no_scores(self, tmp_path):
        (tmp_path / 'other.json').write_text('{"a": 1}')
        with pytest.raises(UserError, match=r"other\.json cannot be read as scores \('images'\)"):
            self.score('buildings', 'data', '--test', tmp_path / 'other.json')

    @pytest.mark.usefixtures('shipped')
    def test_training_starts_from_it(self, calibrated, packed):
        network = ChangeDetector.from_checkpoint(*calibrated).model.network
        for weight in network.parameters():
            torch.nn.init.zeros_(weight)
        fit = load_fitting(network, 'buildings')
        assert (fit.kept, fit.unused) == ([], [])
        state, weights = network.state_dict(), read_checkpoint(packed).state
        assert all((state[name] == weight).all() for name, weight in weights.items())


class TestShipped:
    @pytest.fixture(params=pretrained.model_names())
    def name(self, request):
        return request.param

    def test_equal_probabilities(self, name):
        rng = np.random.default_rng(0)
        pair = [
            cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (130, 96))[None] for _ in range(2)
        ]
        in_torch, in_onnx = (
            ChangeDetector.pretrained(name, runtime=runtime).probs(*pair, channel_order='rgb')
            for runtime in ('pytorch', 'onnxruntime')
        )
        assert in_torch.std() > 0
        np.testing.assert_allclose(in_onnx, in_torch, atol=1e-3)

    def test_what_it_says(self, name):
        assert pretrained.model_path(name).stat().st_size <= pack_command.MOST_BYTES
        metadata = pretrained.model_metadata(name)
        assert metadata.ground_resolution is not None
        assert metadata.licence == (PLACE / 'LICENSE.txt').read_text().strip()
        assert metadata.threshold_source != "the model's own"  # somebody chose it
        assert 'Not measured yet.' not in pretrained.model_card(name)
