"""Detectors by config and checkpoint: that a prediction is the model's answer, and what cannot be loaded."""

import os
import pickle
import textwrap

import numpy as np
import pytest
import torch
from made_up_models import build, image, load, make_models
from mmengine.config import Config

from hsonet_mm.checkpoints import load_weights
from hsonet_mm.errors import UserError
from hsonet_mm.inference.torch_model import training_crop
from hsonet_mm.windows import Window


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    return make_models(tmp_path_factory.mktemp('models'))


@pytest.fixture(scope='module')
def detector(models):
    return load(*models['hsonet'])


@pytest.mark.parametrize('name', ['hsonet', 'fcn'])
def test_prediction_is_the_models(models, name):
    """The same as the bare network on a padded, normalised RGB batch."""
    config, checkpoint = models[name]
    t1, t2 = image(1), image(2)
    prediction = load(config, checkpoint).predict(t1, t2, channel_order='bgr')

    model = build(config)
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    model.eval()
    pair = np.dstack([t1[..., ::-1], t2[..., ::-1]]).astype(np.float32)
    batch = torch.zeros(1, 6, 64, 96)
    batch[0, :, :50, :70] = torch.from_numpy((pair - 120) / 60).permute(2, 0, 1)
    with torch.no_grad():
        logits = model.encode_decode(batch, [{'img_shape': (64, 96)}])[0, :, :50, :70]
    probs = (logits.sigmoid()[0] if name == 'hsonet' else logits.softmax(0)[1]).numpy()

    np.testing.assert_allclose(prediction.probs, probs, atol=1e-5)
    threshold = 0.4 if name == 'hsonet' else 0.5
    clear = abs(probs - threshold) > 1e-4
    assert prediction.mask.dtype == bool
    assert (prediction.mask == (probs > threshold))[clear].all()
    assert 0 < prediction.mask.mean() < 1  # the test would not see a swap of classes otherwise


def test_threshold(models):
    probs = load(*models['hsonet']).predict(image(1), image(2), channel_order='bgr').probs
    for threshold in (0.2, 0.5, 0.7):
        prediction = load(*models['hsonet'], threshold=threshold).predict(
            image(1), image(2), channel_order='bgr'
        )
        np.testing.assert_array_equal(prediction.mask, probs > np.float32(threshold))


def test_window(models):
    """Sliding with a window as large as the image is whole; a smaller one sees another scene."""
    t1, t2 = image(1, 64, 64), image(2, 64, 64)
    whole = load(*models['hsonet'], window='whole').predict(t1, t2, channel_order='bgr').probs
    slide = load(*models['hsonet'], window=(64, 48)).predict(t1, t2, channel_order='bgr').probs
    np.testing.assert_allclose(slide, whole, atol=1e-6)
    default = load(*models['hsonet'], window='slide')  # the config says nothing of crops
    assert default.window == Window(512, 128)
    np.testing.assert_allclose(default.predict(t1, t2, channel_order='bgr').probs, whole, atol=1e-6)
    small = load(*models['hsonet'], window=(32, 32)).predict(t1, t2, channel_order='bgr').probs
    assert abs(small - whole).max() > 1e-3
    corner = load(*models['hsonet']).predict(t1[:32, :32], t2[:32, :32], channel_order='bgr').probs
    np.testing.assert_allclose(small[:32, :32], corner, atol=1e-5)


@pytest.mark.parametrize('window', ['slide', (64, 48), (32, 20), (None, 200)])
def test_any_size_through_a_window(models, window):
    detector = load(*models['hsonet'], window=window)
    for height, width in ((1, 1), (3, 5), (33, 100), (130, 64)):
        probs = detector.predict(image(1, height, width), image(2, height, width), channel_order='bgr').probs
        assert probs.shape == (height, width)
        assert np.isfinite(probs).all()


def test_a_window_of_the_config_is_its_own(models, monkeypatch):
    """Without a choice the network does what its config says, as in scoring; a choice replaces that."""
    monkeypatch.setattr('hsonet_mm.inference.window_choice.WHOLE_PIXELS', 1)
    slide = {'mode': 'slide', 'crop_size': (32, 32), 'stride': (32, 32)}
    slide = {f'model.test_cfg.{key}': value for key, value in slide.items()}
    t1, t2 = image(1, 64, 64), image(2, 64, 64)
    own = load(*models['hsonet'], cfg_options=slide)
    assert not own.slides(64, 64)
    expected = load(*models['hsonet'], window=(32, 32)).predict(t1, t2, channel_order='bgr').probs
    np.testing.assert_allclose(
        own.predict(t1, t2, channel_order='bgr').probs, expected, atol=1e-5
    )  # without overlap both are the same
    whole = (
        load(*models['hsonet'], cfg_options=slide, window='whole').predict(t1, t2, channel_order='bgr').probs
    )
    assert abs(whole - expected).max() > 1e-3


@pytest.mark.parametrize(
    ('pipeline', 'crop'),
    [
        ([{'type': 'Flip'}, {'type': 'Crop', 'crop_size': 192}], 192),
        ([{'type': 'Crop', 'crop_size': [128, 256]}], 256),
        ([{'type': 'RandomApply', 'transforms': [{'type': 'Crop', 'crop_size': (96, 96)}]}], 96),
        ([{'type': 'Flip'}], None),
    ],
)
def test_the_crop_of_the_training(pipeline, crop):
    data_set = {'type': 'RepeatDataset', 'dataset': {'pipeline': pipeline}}
    assert training_crop(Config({'train_dataloader': {'dataset': data_set}})) == crop
    assert training_crop(Config({})) is None


def test_cfg_options(models):
    options = {'model.decode_head.threshold': 0.6}
    prediction = load(*models['hsonet'], cfg_options=options).predict(image(1), image(2), channel_order='bgr')
    np.testing.assert_array_equal(prediction.mask, prediction.probs > np.float32(0.6))


class Code:
    def __reduce__(self):
        return (os.mkdir, ('pwned',))


def test_bad_checkpoints(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, good = models['hsonet']
    state = torch.load(good)['state_dict']
    names = ('short', 'shorter', 'text', 'code', 'list', 'narrow', 'more', 'renamed')
    paths = {name: tmp_path / f'{name}.pth' for name in names}
    paths['short'].write_bytes(good.read_bytes()[:-1000])
    paths['shorter'].write_bytes(good.read_bytes()[:6])
    paths['text'].write_text('<html>')
    texts = []  # each leads the unpickler to another error
    for number, text in enumerate(
        ('error: no such file', 'access denied', 'this is not a checkpoint', 'a3f5')
    ):
        texts.append(tmp_path / f'text{number}.pth')
        texts[-1].write_text(text)
    torch.save({'state_dict': state, 'optimizer': Code()}, paths['code'])
    torch.save([1, 2], paths['list'])
    name = 'decode_head.conv_seg.weight'
    torch.save({**state, name: state[name].repeat(2, 1, 1, 1)}, paths['narrow'])
    torch.save({**state, 'ema.weight': torch.zeros(1)}, paths['more'])
    torch.save({key.replace('neck.', 'fpn.'): value for key, value in state.items()}, paths['renamed'])
    for path, sentence in [
        (tmp_path / 'none.pth', 'does not exist'),
        (paths['short'], 'is truncated or damaged'),
        (paths['shorter'], 'is truncated or damaged|not a checkpoint'),
        *((path, 'not a checkpoint') for path in (paths['text'], *texts)),
        (paths['code'], r'contains code \((posix|nt)\.mkdir\)'),
        (paths['list'], 'contains no weights'),
        (paths['narrow'], rf'{name} is \[2, 8, 1, 1\] in the file and \[1, 8, 1, 1\] in the model'),
        (paths['more'], 'the model does not have 1 weight, first ema.weight'),
        (
            paths['renamed'],
            'the file lacks 16 weights, first neck.*; the model does not have 16 weights, first fpn',
        ),
        (models['fcn'][1], 'does not fit the model of the config'),
    ]:
        with pytest.raises(UserError, match=sentence) as caught:
            load(config, path)
        assert str(path) in str(caught.value)
        assert '\n' not in str(caught.value)
    assert not (tmp_path / 'pwned').exists()
    pickle.loads(pickle.dumps(Code()))
    assert (tmp_path / 'pwned').exists()  # the code in that file is real


def test_weights_of_distributed_training_and_bare_state_dicts_load(models, tmp_path):
    config, checkpoint = models['hsonet']
    state = torch.load(checkpoint)['state_dict']
    torch.save({f'module.{key}': value for key, value in state.items()}, tmp_path / 'bare.pth')
    model = build(config)
    load_weights(model, str(tmp_path / 'bare.pth'))
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])


def test_other_failures_of_loading_are_not_hidden(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError('something else')

    model = torch.nn.Linear(1, 1)
    torch.save(model.state_dict(), tmp_path / 'linear.pth')
    monkeypatch.setattr(model, 'load_state_dict', fail)
    with pytest.raises(RuntimeError, match='something else'):
        load_weights(model, tmp_path / 'linear.pth')


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'threshold': 0}, 'invalid threshold 0: expected'),
        ({'threshold': 1.0}, 'between 0 and 1'),
        ({'threshold': float('nan')}, 'between 0 and 1'),
        ({'device': 'cuda:99'}, 'the device cuda:99 is not available'),
        ({'device': 'abacus'}, 'the device abacus is not available'),
        ({'window': (32, 64)}, 'invalid windows of 32 pixels with a step of 64'),
        ({'window': (32, 16, 8)}, r'invalid window \(32, 16, 8\): expected'),
        ({'window': (32.5, None)}, r'invalid window \(32.5, None\): expected'),
        ({'threshold': '0.5'}, "invalid threshold '0.5': expected a value"),
        ({'resample': '0.5'}, "invalid resample '0.5': expected metres"),
        ({'resample': 0}, 'invalid resample 0: expected metres'),
        ({'resample': True}, 'invalid resample True: expected metres'),
        ({'reading': {'bands': '3,2,1'}}, 'invalid reading .*Reading.make'),
        ({'window': (32, 0)}, 'invalid windows of 32 pixels with a step of 0'),
        ({'config': 'none.py'}, 'the config none.py does not exist'),
        ({'cfg_options': {'model.neck': {'type': 'NoNeck', '_delete_': True}}}, 'NoNeck is not in the'),
        ({'cfg_options': {'model.neck.colour': 'red'}}, 'cannot be built .*colour'),
        ({'cfg_options': {'norm.type.x.y': 1}}, '--cfg-options do not fit'),
    ],
)
def test_bad_arguments(models, change, sentence):
    config, checkpoint = models['hsonet']
    with pytest.raises(UserError, match=sentence):
        load(**({'config': config, 'checkpoint': checkpoint} | change))


def test_bad_configs(models, tmp_path):
    for text, sentence in [('model = dict(', 'cannot be read'), ('data = 1', 'does not define a model')]:
        config = tmp_path / 'config.py'
        config.write_text(text)
        with pytest.raises(UserError, match=sentence):
            load(config, models['hsonet'][1])


def test_arrays_of_two_sizes(detector):
    with pytest.raises(UserError, match='70 x 50 and 70 x 40'):
        detector.predict(image(1), image(1, 40), channel_order='bgr')


def test_a_diverged_model_is_named(models):
    detector = load(*models['hsonet'])
    torch.nn.init.constant_(detector.model.network.decode_head.conv_seg.bias, float('nan'))
    with pytest.raises(UserError, match='NaN'):
        detector.predict(image(1), image(2), channel_order='bgr')


@pytest.mark.parametrize(
    'error',
    [
        torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.'),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried ..."
        ),
        MemoryError(),
    ],
)
def test_too_little_memory(models, monkeypatch, error):
    def fail(*_):
        raise error

    whole = '1 x 70 x 50 pixels do not fit into the memory of cpu: give predict --mode slide'
    windows = r'in windows of 32 x 32 do not fit into the memory of cpu: .* smaller --crop'
    for window, sentence in ((None, whole), ((32, 16), windows)):
        detector = load(*models['hsonet'], window=window)
        monkeypatch.setattr(detector.model.network, 'test_step', fail)
        with pytest.raises(UserError, match=sentence):
            detector.predict(image(1), image(2), channel_order='bgr')


def test_nothing_is_downloaded(models, tmp_path):
    """A backbone that loads weights in its constructor gets none to load, wherever the config names them."""
    config = tmp_path / 'config.py'
    config.write_text(
        textwrap.dedent(f"""
        _base_ = {str(models['hsonet'][0])!r}
        model = dict(
            pretrained='https://0.0.0.0/missing.pth',
            decode_head=dict(init_cfg=[dict(type='Pretrained', checkpoint='https://0.0.0.0/missing.pth')]))
        """)
    )
    model = load(config, models['hsonet'][1]).model.network
    assert not any('Pretrained' in str(getattr(module, 'init_cfg', None)) for module in model.modules())
