"""ChangeDetector: the same answers from every kind of model, thresholds, sidecars, bad input, life without PyTorch."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from hsonet_mm import ChangeDetector
from hsonet_mm.cli import main
from hsonet_mm.errors import UserError
from hsonet_mm.exported.metadata import Metadata
from hsonet_mm.inference import models
from hsonet_mm.inference.calibration import apply_temperature, sidecar_of
from hsonet_mm.inference.opening import open_detector
from hsonet_mm.windows import Window

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

METADATA = Metadata(
    name='tiny.py tiny.pth',
    threshold=0.25,
    threshold_source="the model's own",
    temperature=1.0,
    tile_size=None,
    crop_size=128,
    versions={'hsonet_mm': '0.1.0', 'torch': '2.13.0'},
)


def write_onnx(path, props=None, tile_size=None, divisor=255.0):
    """A model whose probability is |red of t1 - green of t2| / 255."""
    helper, kind = onnx.helper, onnx.TensorProto
    size = (tile_size or 'height', tile_size or 'width')
    nodes = [
        helper.make_node('Gather', ['pair', 'red'], ['r1'], axis=1),
        helper.make_node('Gather', ['pair', 'green'], ['g2'], axis=1),
        helper.make_node('Sub', ['r1', 'g2'], ['difference']),
        helper.make_node('Abs', ['difference'], ['distance']),
        helper.make_node('Div', ['distance', 'scale'], ['probs']),
    ]
    initializers = [
        helper.make_tensor('red', kind.INT64, [1], [0]),
        helper.make_tensor('green', kind.INT64, [1], [4]),
        helper.make_tensor('scale', kind.FLOAT, [], [divisor]),
    ]
    graph = helper.make_graph(
        nodes,
        'tiny',
        [helper.make_tensor_value_info('pair', kind.FLOAT, ('batch', 6, *size))],
        [helper.make_tensor_value_info('probs', kind.FLOAT, ('batch', 1, *size))],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    metadata = Metadata(**{**METADATA.__dict__, 'tile_size': tile_size})
    helper.set_model_props(model, metadata.to_props() if props is None else props)
    path.write_bytes(model.SerializeToString())
    return path


def write_sidecar(model, **changes):
    content = {
        'format': 'hsonet_mm calibration 1',
        'temperature': 2.0,
        'threshold': 0.375,
        'model_sha256': hashlib.sha256(model.read_bytes()).hexdigest(),
    }
    sidecar_of(model).write_text(json.dumps(content | changes))


@pytest.fixture
def model(tmp_path):
    return write_onnx(tmp_path / 'model.onnx')


@pytest.fixture(scope='module')
def trained(tmp_path_factory, write_random):
    """Config and checkpoint of random weights."""
    return write_random(tmp_path_factory.mktemp('trained'))


def image(seed, height=21, width=34):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def expected(t1, t2):
    return abs(t1[..., 2].astype(np.float32) - t2[..., 1]) / 255


def test_onnx_predicts_arrays_paths_and_lists(model, tmp_path):
    detector = ChangeDetector.from_onnx(model, threads=1)
    t1, t2 = image(1), image(2)
    prediction = detector.predict(t1, t2, channel_order='bgr')
    assert prediction.probs.dtype == np.float32
    assert prediction.mask.dtype == bool
    np.testing.assert_allclose(prediction.probs, expected(t1, t2), atol=1e-6)
    np.testing.assert_array_equal(prediction.mask, prediction.probs > 0.25)
    assert prediction.threshold == 0.25
    for name, one in (('a.png', t1), ('b.png', t2)):
        cv2.imwrite(str(tmp_path / name), one)
    paths = tmp_path / 'a.png', str(tmp_path / 'b.png')
    np.testing.assert_array_equal(detector.predict(*paths).probs, prediction.probs)
    others = image(3, 5, 1), image(4, 5, 1)
    both = detector.predict([paths[0], others[0]], [t2, others[1]], channel_order='bgr')
    np.testing.assert_array_equal(both[0].probs, prediction.probs)
    np.testing.assert_allclose(both[1].probs, expected(*others), atol=1e-6)


def test_probs_of_a_batch(model):
    t1, t2 = np.stack([image(1), image(2), image(3)]), np.stack([image(4), image(5), image(6)])
    np.testing.assert_allclose(
        ChangeDetector.from_onnx(model).probs(t1, t2, channel_order='bgr'), expected(t1, t2), atol=1e-6
    )


def test_onnx_says_what_it_is(model):
    detector = ChangeDetector.from_onnx(model)
    assert detector.name == 'model.onnx'
    assert {'hsonet_mm', 'onnxruntime', 'torch of the export'} <= detector.versions.keys()


def test_threshold_given_calibrated_or_the_models_own(model):
    own = ChangeDetector.from_onnx(model)
    assert (own.threshold, own.threshold_source) == (0.25, "the model's own")
    write_sidecar(model)
    calibrated = ChangeDetector.from_onnx(model)
    assert (calibrated.threshold, calibrated.threshold_source) == (
        0.375,
        'calibrated (model.onnx.calibration.json)',
    )
    given = ChangeDetector.from_onnx(model, threshold=0.9)
    assert (given.threshold, given.threshold_source) == (0.9, 'given')
    pair = image(1), image(2)
    p = own.predict(*pair, channel_order='bgr').probs.astype(float).clip(1e-6, 1 - 1e-6)
    softer = 1 / (1 + np.sqrt((1 - p) / p))  # T = 2
    for one in (calibrated, given):
        prediction = one.predict(*pair, channel_order='bgr')
        inner = (p > 1e-4) & (p < 1 - 1e-4)
        np.testing.assert_allclose(prediction.probs[inner], softer[inner], atol=1e-6)
        np.testing.assert_array_equal(prediction.mask, prediction.probs > np.float32(one.threshold))
    assert (
        calibrated.predict(*pair, channel_order='bgr').mask.sum()
        != own.predict(*pair, channel_order='bgr').mask.sum()
    )


def test_temperature_keeps_order_and_ends():
    probs = np.array([0, 1e-30, 0.1, 0.5, 0.9, 1], np.float32)
    assert apply_temperature(probs, 1) is probs
    for temperature in (0.5, 3):
        scaled = apply_temperature(probs, temperature)
        assert scaled.dtype == np.float32
        assert (np.diff(scaled) >= 0).all()
        assert scaled[3] == 0.5
        assert np.isfinite(scaled).all()
    odds = (0.9 / 0.1) ** (1 / 3)
    assert apply_temperature(probs, 3)[4] == pytest.approx(odds / (1 + odds), abs=1e-6)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ('{', 'is damaged'),
        ('[1]', 'is damaged'),
        ('{"format": "other"}', "its format is 'other'"),
        ({'threshold': 0}, 'out of range'),
        ({'threshold': None}, 'is damaged'),
        ({'temperature': -1}, 'out of range'),
        ({'temperature': float('nan')}, 'out of range'),
        ({'model_sha256': '0' * 64}, 'was made for another file than .*model.onnx'),
    ],
)
def test_bad_sidecar(model, change, sentence):
    if isinstance(change, str):
        sidecar_of(model).write_text(change)
    else:
        write_sidecar(model, **change)
    with pytest.raises(UserError, match=sentence) as caught:
        ChangeDetector.from_onnx(model)
    assert str(sidecar_of(model)) in str(caught.value)
    assert 'hsonet calibrate' in str(caught.value)


def test_sidecar_without_a_key(model):
    sidecar_of(model).write_text('{"format": "hsonet_mm calibration 1", "temperature": 1}')
    with pytest.raises(UserError, match="no 'threshold'"):
        ChangeDetector.from_onnx(model)


BAD_FILES = {
    'text': (lambda _: b'hello', 'is not an ONNX model, or damaged'),
    'empty': (lambda _: b'', 'is not an ONNX model'),
    'truncated': (lambda data: data[: len(data) // 2], 'is not an ONNX model|was not written by'),
    'cut by a byte': (
        lambda data: data[:-1],
        'is not an ONNX model|was not written by|other version',
    ),
}


@pytest.mark.parametrize('kind', BAD_FILES)
def test_bad_onnx(model, kind):
    damage, sentence = BAD_FILES[kind]
    model.write_bytes(damage(model.read_bytes()))
    with pytest.raises(UserError, match=sentence) as caught:
        ChangeDetector.from_onnx(model)
    assert str(model) in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('props', 'sentence'),
    [
        ({'model_type': '"Segmentor"'}, 'was not written by `hsonet export`'),
        ({'hsonet_mm': '{"format": 99}'}, 'another version of hsonet_mm'),
        ({'hsonet_mm': 'x'}, 'another version of hsonet_mm'),
        ({'hsonet_mm': '{"format": 1}'}, 'another version of hsonet_mm'),
    ],
)
def test_onnx_of_something_else(tmp_path, props, sentence):
    with pytest.raises(UserError, match=sentence):
        ChangeDetector.from_onnx(write_onnx(tmp_path / 'other.onnx', props))


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


@pytest.mark.parametrize(
    ('t1', 't2', 'sentence'),
    [
        (
            image(1).astype(np.float32),
            image(2),
            r'^invalid images of shape \(21, 34, 3\) and type float32: expected arrays \(height, width, 3\)',
        ),
        (image(1), image(2).astype(np.uint16), 'type uint16'),
        (image(1)[..., 0], image(2)[..., 0], r'shape \(21, 34\) and type uint8'),
        (image(1)[..., :2], image(2)[..., :2], r'shape \(21, 34, 2\)'),
        (image(1), image(2, 20), '34 x 21 and 34 x 20 pixels'),
        (image(1)[:0], image(2)[:0], '^invalid images without pixels: expected'),
        ([image(1)], [image(2)] * 2, 'not lists of one length'),
        ([image(1)], image(2), 'not lists of one length'),
        ('none.png', 'none.png', 'none.png does not exist'),
    ],
)
def test_bad_images(model, t1, t2, sentence):
    with pytest.raises(UserError, match=sentence):
        ChangeDetector.from_onnx(model).predict(t1, t2, channel_order='bgr')


@pytest.mark.parametrize(
    ('t1', 't2', 'sentence'),
    [
        (image(1), image(2), r'shape \(21, 34, 3\) .*\(number, height, width, 3\) of uint8'),
        ('a.png', 'b.png', r'shape \(\)'),
        ([image(1)] * 2, [image(2)], 'the two dates are 2 and 1 images'),
        (np.ma.masked_less(image(1), 9)[None], image(2)[None], 'masked pixels: give each pair to predict'),
    ],
)
def test_bad_batches(model, t1, t2, sentence):
    with pytest.raises(UserError, match=sentence):
        ChangeDetector.from_onnx(model).probs(t1, t2, channel_order='bgr')


def test_probs_of_lists(model):
    t1, t2 = [image(1), image(2)], [image(3), image(4)]
    detector = ChangeDetector.from_onnx(model)
    np.testing.assert_array_equal(
        detector.probs(t1, t2, channel_order='bgr'),
        detector.probs(np.stack(t1), np.stack(t2), channel_order='bgr'),
    )


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


def test_a_model_of_one_tile_size(tmp_path):
    detector = ChangeDetector.from_onnx(write_onnx(tmp_path / 'tiles.onnx', tile_size=16))
    assert detector.predict(image(1, 16, 16), image(2, 16, 16), channel_order='bgr').mask.shape == (16, 16)
    for height, width in ((1, 1), (7, 5), (16, 20), (33, 50)):  # smaller ones are padded, larger ones windows
        t1, t2 = image(1, height, width), image(2, height, width)
        np.testing.assert_allclose(
            detector.predict(t1, t2, channel_order='bgr').probs, expected(t1, t2), atol=1e-6
        )
    whole = ChangeDetector.from_onnx(tmp_path / 'tiles.onnx', window='whole')
    with pytest.raises(UserError, match=r'takes 16 x 16 pixels, not 20 x 16: .* without --tile'):
        whole.predict(image(1, 16, 20), image(2, 16, 20), channel_order='bgr')
    assert detector.window == Window(16, 4, fixed=True)
    assert ChangeDetector.from_onnx(tmp_path / 'tiles.onnx', window=(None, 8)).window == Window(
        16, 8, fixed=True
    )
    with pytest.raises(UserError, match='takes 16 x 16 pixels only: leave out --crop 32'):
        ChangeDetector.from_onnx(tmp_path / 'tiles.onnx', window=(32, 8))


def test_an_exported_model_slides(model, monkeypatch):
    t1, t2 = image(1, 90, 70), image(2, 90, 70)
    for window in ('slide', (40, 30)):
        detector = ChangeDetector.from_onnx(model, window=window)
        assert detector.slides(90, 70)
        np.testing.assert_allclose(
            detector.predict(t1, t2, channel_order='bgr').probs, expected(t1, t2), atol=1e-6
        )
    detector = ChangeDetector.from_onnx(model)
    assert not detector.slides(90, 70)
    monkeypatch.setattr('hsonet_mm.inference.window_choice.WHOLE_PIXELS', 6299)
    assert detector.slides(90, 70)
    sizes = []
    probs = detector.model.probs
    monkeypatch.setattr(detector.model, 'probs', lambda a, b: sizes.append(a.shape) or probs(a, b))
    np.testing.assert_allclose(
        detector.predict(t1, t2, channel_order='bgr').probs, expected(t1, t2), atol=1e-6
    )
    assert detector.window == Window(128, 32)  # its crops
    assert sizes == [(1, 96, 96, 3)]  # the image is smaller


def test_too_little_memory(model, monkeypatch):
    def fail(*_):
        raise RuntimeError(
            '[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. '
            'Failed to allocate memory for requested buffer of size 1024000000'
        )

    detector = ChangeDetector.from_onnx(model)
    monkeypatch.setattr(detector.model, '_run', fail)
    with pytest.raises(
        UserError, match='1 x 34 x 21 pixels do not fit into the memory of cpu: give predict --mode'
    ):
        detector.predict(image(1), image(2), channel_order='bgr')


def test_a_diverged_model_is_named(tmp_path):
    detector = ChangeDetector.from_onnx(write_onnx(tmp_path / 'nan.onnx', divisor=float('nan')))
    with pytest.raises(UserError, match='NaN'):
        detector.predict(image(1), image(2), channel_order='bgr')


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


def test_checkpoint_with_a_sidecar(trained):
    config, checkpoint = trained
    pair = np.stack([image(1, 40, 50), image(3, 40, 50)]), np.stack([image(2, 40, 50), image(4, 40, 50)])
    plain = ChangeDetector.from_checkpoint(config, checkpoint)
    assert plain.name == 'tiny.py tiny.pth'
    assert plain.versions['torch'] == torch.__version__
    other = ChangeDetector.from_checkpoint(
        config, checkpoint, cfg_options={'model.decode_head.threshold': 0.3}
    )
    assert (
        other.versions['config'] != plain.versions['config']
    )  # so that scenes of the one are not taken for the other's
    probs = plain.probs(*pair, channel_order='bgr')
    single = plain.predict(pair[0][1], pair[1][1], channel_order='bgr')
    np.testing.assert_allclose(probs[1], single.probs, atol=1e-6)
    write_sidecar(checkpoint)
    try:
        calibrated = ChangeDetector.from_checkpoint(config, checkpoint)
    finally:
        sidecar_of(checkpoint).unlink()
    assert calibrated.threshold_source == 'calibrated (tiny.pth.calibration.json)'
    np.testing.assert_allclose(
        calibrated.probs(*pair, channel_order='bgr'), apply_temperature(probs, 2.0), atol=1e-6
    )


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


def test_checkpoint_without_pytorch(trained, monkeypatch):
    monkeypatch.setattr(models, 'find_spec', lambda _: None)
    with pytest.raises(UserError, match=r'tiny.pth needs PyTorch.*\[standalone\].*\.onnx'):
        ChangeDetector.from_checkpoint(*trained)


def test_without_pytorch_and_openmmlab(tmp_path, repo):
    """The package, the detector and ``hsonet predict`` work on exported models where nothing else is installed."""
    write_onnx(tmp_path / 'model.onnx')
    for name, seed in (('a.png', 1), ('b.png', 2)):
        cv2.imwrite(str(tmp_path / name), image(seed))
    code = """
        import sys
        for name in ('torch', 'mmengine', 'mmcv', 'mmseg', 'opencd'):
            sys.modules[name] = None
        import hsonet_mm
        from hsonet_mm.cli import main
        from hsonet_mm.errors import UserError

        detector = hsonet_mm.ChangeDetector.from_onnx('model.onnx')
        assert detector.predict('a.png', 'b.png').mask.any()
        try:
            hsonet_mm.ChangeDetector.from_checkpoint('tiny.py', 'tiny.pth')
        except UserError as error:
            print(error)
        assert main(['train', 'tiny.py']) == 2
        assert main(['predict', 'no.onnx', 'a.png', 'b.png', '--out', 'out']) == 2
        sys.exit(main(['predict', 'model.onnx', 'a.png', 'b.png', '--out', 'out']))
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        cwd=tmp_path,
        env={'PYTHONPATH': str(repo), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    missing, last = done.stdout.strip().splitlines()
    assert missing.startswith('the checkpoint tiny.pth needs PyTorch')
    train, absent, *_ = done.stderr.splitlines()  # then the progress
    assert train.startswith('error: hsonet train needs ')
    assert '[standalone]' in train
    assert absent.startswith('error: ')
    assert 'no.onnx' in absent
    assert "at threshold 0.25 (the model's own), see out" in last
    mask = cv2.imread(str(tmp_path / 'out/b_mask.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask > 0, expected(image(1), image(2)) > 0.25)


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
