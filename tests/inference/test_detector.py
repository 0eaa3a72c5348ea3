"""ChangeDetector: the same answers from every kind of model, masked pixels, pickling, and the command around it."""

import io
import os
import pickle
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from onnx_models import expected, image, write_onnx

from hsonet_mm import ChangeDetector
from hsonet_mm.cli import main
from hsonet_mm.errors import UserError
from hsonet_mm.inference.opening import open_detector

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture
def model(tmp_path):
    return write_onnx(tmp_path / 'model.onnx')


def test_bad_arguments(model, monkeypatch):
    with pytest.raises(UserError, match=r'none\.onnx does not exist'):
        ChangeDetector.from_onnx('none.onnx')
    with pytest.raises(UserError, match='invalid number of threads 0: expected'):
        ChangeDetector.from_onnx(model, threads=0)
    for threshold in (0, 1, float('nan')):
        with pytest.raises(UserError, match='between 0 and 1'):
            ChangeDetector.from_onnx(model, threshold=threshold)
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(UserError, match='needs ONNX Runtime: pip install onnxruntime'):
        ChangeDetector.from_onnx(model)


def test_a_suffix_in_capitals(model):
    assert open_detector([model.rename(model.with_name('MODEL.ONNX'))]).model.metadata is not None


def test_masked_arrays_have_no_data_where_all_bands_are_masked(model, tmp_path):
    t1, t2 = image(1), image(2)
    mask = np.zeros(t1.shape, bool)
    mask[:5] = True
    mask[5:9, :, 0] = True
    detector = ChangeDetector.from_onnx(model)
    prediction = detector.predict(np.ma.array(t1, mask=mask), t2, channel_order='bgr')
    valid = np.arange(21)[:, None] >= np.full((1, 34), 5)
    np.testing.assert_array_equal(prediction.valid, valid)
    np.testing.assert_allclose(prediction.probs, np.where(valid, expected(t1, t2), 0), atol=1e-6)
    # a file that is paired with an array has its nodata too
    cv2.imwrite(str(tmp_path / 'a.png'), np.dstack([t1, valid.astype(np.uint8) * 255]))
    beside = detector.predict(tmp_path / 'a.png', t2, channel_order='bgr')
    np.testing.assert_array_equal(beside.valid, valid)
    np.testing.assert_array_equal(beside.probs, prediction.probs)


def test_a_pickled_detector_opens_its_files_again(model, trained, tmp_path, monkeypatch):
    t1, t2 = image(1, 64, 64), image(2, 64, 64)
    first = ChangeDetector.from_onnx(os.path.relpath(model), threshold=0.4, window=(32, 16))
    second = ChangeDetector.from_checkpoint(*trained, device=torch.device('cpu'), precision='fp32')
    second.threshold = 0.7  # set afterwards
    pickled = [pickle.dumps(one) for one in (first, second)]
    monkeypatch.chdir(tmp_path)
    for one, data in zip((first, second), pickled, strict=True):
        again = pickle.loads(data)
        assert again.threshold == one.threshold
        assert again.window == one.window
        np.testing.assert_array_equal(
            again.predict(t1, t2, channel_order='rgb').probs, one.predict(t1, t2, channel_order='rgb').probs
        )


def test_augmentation_is_the_mean_over_views(model, trained):
    t1, t2 = image(1, 64, 96), image(2, 64, 96)
    plain = ChangeDetector.from_checkpoint(*trained, precision='fp32', window=(32, 16))
    detector = ChangeDetector.from_checkpoint(
        *trained, precision='fp32', window=(32, 16), tta=['flips', 'swap']
    )
    total = 0.0
    for flip in (np.s_[:, :], np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1]):
        for one, two in ((t1, t2), (t2, t1)):
            total = total + plain.predict(one[flip], two[flip], channel_order='rgb').probs[flip]
    augmented = detector.predict(t1, t2, channel_order='rgb')
    np.testing.assert_allclose(augmented.probs, total / 8, atol=1e-6)
    assert abs(augmented.probs - plain.predict(t1, t2, channel_order='rgb').probs).max() > 1e-3
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.predict(t1, t2, channel_order='rgb').probs, augmented.probs)
    assert detector.whole().tta == ()
    with pytest.raises(UserError, match=r'invalid tta .*: expected a list of some of flips, rotations, swap'):
        ChangeDetector.from_onnx(model, tta='flips')


def test_a_pickled_detector_without_windows_has_none(trained):
    t1, t2 = image(1, 64, 64), image(2, 64, 64)
    sliding = {'model.test_cfg': dict(mode='slide', crop_size=(32, 32), stride=(32, 32))}
    detector = ChangeDetector.from_checkpoint(*trained, cfg_options=sliding, precision='fp32')
    whole = detector.whole()
    again = pickle.loads(pickle.dumps(whole))
    expected = whole.predict(t1, t2, channel_order='rgb').probs
    assert abs(detector.predict(t1, t2, channel_order='rgb').probs - expected).max() > 1e-3
    np.testing.assert_array_equal(again.predict(t1, t2, channel_order='rgb').probs, expected)


def test_open_detector(model, trained):
    assert open_detector([model], device='cpu', window='whole', threshold=0.5).threshold == 0.5
    detector = open_detector(list(trained), cfg_options={'model.decode_head.threshold': 0.75})
    assert (detector.threshold, detector.threshold_source) == (0.75, "the model's own")
    for files in ([], [trained[0]], [*trained, model]):
        with pytest.raises(
            UserError,
            match=r'^invalid model .*: expected a config and a checkpoint, one \.onnx file, or a name',
        ):
            open_detector(files)
    for options, cure in (
        ({'device': 'cuda'}, 'use --device cpu'),
        ({'cfg_options': {'a': 1}}, '--cfg-options does not apply'),
        ({'precision': 'bf16'}, '--precision does not apply'),
    ):
        with pytest.raises(UserError, match=cure):
            open_detector([model], **options)


def current_scope():
    """Name of MMEngine's default scope, if there is one."""
    return getattr(DefaultScope.get_current_instance(), 'scope_name', None)


def test_two_detectors_share_nothing(trained):
    """Neither the default scope of MMEngine nor the weights of another detector."""
    before = current_scope()
    first = ChangeDetector.from_checkpoint(*trained)
    pair = image(1, 32, 32), image(2, 32, 32)
    answer = first.predict(*pair, channel_order='bgr').probs
    second = ChangeDetector.from_checkpoint(*trained, threshold=0.9)
    torch.nn.init.constant_(second.model.network.decode_head.conv_seg.bias, 9)
    assert current_scope() == before
    np.testing.assert_array_equal(first.predict(*pair, channel_order='bgr').probs, answer)
    assert first.threshold == 0.5


@pytest.mark.parametrize('encoding', ['ascii', 'cp1252', 'utf-8'])
def test_a_terminal_of_another_encoding(model, tmp_path, monkeypatch, encoding):
    """Names that it does not have are printed as escapes; the last line is printed as any other."""
    for name, seed in (('a.png', 1), ('b.png', 2)):
        cv2.imwrite(str(tmp_path / name), image(seed))
    out = tmp_path / '变化\udcff'  # and a byte that is no UTF-8
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline='\n')
    monkeypatch.setattr('sys.stdout', terminal)
    assert (
        main(['predict', str(model), str(tmp_path / 'a.png'), str(tmp_path / 'b.png'), '-o', str(out)]) == 0
    )
    terminal.flush()
    text = terminal.buffer.getvalue().decode(encoding)
    shown = '变化' if encoding == 'utf-8' else '\\u53d8\\u5316'
    assert text.splitlines()[-1].endswith(f'{shown}\\udcff')


@pytest.mark.parametrize('name', ['stdout', 'stderr'])
def test_without_a_terminal(model, tmp_path, monkeypatch, name):
    """Where a command is started with closed streams, Python has none."""
    for file, seed in (('a.png', 1), ('b.png', 2)):
        cv2.imwrite(str(tmp_path / file), image(seed))
    monkeypatch.setattr(sys, name, None)
    arguments = [str(model), str(tmp_path / 'a.png'), str(tmp_path / 'b.png'), '-o', str(tmp_path / 'out')]
    assert main(['predict', *arguments]) == 0
    assert getattr(sys, name).name == os.devnull
    getattr(sys, name).close()
    assert len(list((tmp_path / 'out').iterdir())) == 3


def test_predict_command_takes_onnx(model, tmp_path, hsonet):
    for name, seed in (('a.png', 1), ('b.png', 2)):
        cv2.imwrite(str(tmp_path / name), image(seed))
    pair = (tmp_path / 'a.png', tmp_path / 'b.png')
    code, stdout, _ = hsonet('predict', model, *pair, '--out', tmp_path / 'out', '--threshold', 0.5)
    assert code == 0
    assert 'at threshold 0.5 (given)' in stdout
    options = ('--mode', 'slide', '--crop', 16)
    code, stdout, _ = hsonet('predict', model, *pair, '--out', tmp_path / 'out', *options)
    assert code == 0
    assert '1 of 1 in sliding windows of 16 x 16 pixels that share 4' in stdout
    prob = cv2.imread(str(tmp_path / 'out/b_prob.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(prob, np.round(expected(image(1), image(2)) * 255))
    assert hsonet('predict', model, pair[0], '--out', tmp_path / 'out')[0] == 2
