"""Prediction from files: what is written, that it is the model's answer, and what bad input leads to."""

import errno
import os
import pathlib
import pickle
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from hsonet_mm import ChangeDetector
from hsonet_mm.checkpoints import load_weights
from hsonet_mm.cli import main
from hsonet_mm.commands.predict import predict_paths
from hsonet_mm.errors import UserError
from hsonet_mm.inference.pairs import draw_overlay
from hsonet_mm.inference.torch_model import training_crop
from hsonet_mm.windows import Window

COMMON = """
custom_imports = dict(imports=['hsonet_mm'])
default_scope = 'opencd'
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='SiamEncoderDecoder',
    data_preprocessor=dict(
        type='DualInputSegDataPreProcessor', mean=[120.0] * 6, std=[60.0] * 6, bgr_to_rgb=True,
        size_divisor=32, pad_val=0, seg_pad_val=255, test_cfg=dict(size_divisor=32)),
    backbone=dict(
        type='mmseg.ResNet', depth=18, base_channels=4, norm_cfg=norm,
        init_cfg=dict(type='Pretrained', checkpoint='https://0.0.0.0/missing.pth')),
    {rest}
    train_cfg=dict(), test_cfg=dict(mode='whole'))
"""

HSONET = """
    neck=dict(type='hsonet_mm.VFPN', in_channels=[4, 8, 16, 32], out_channels=8),
    decode_head=dict(
        type='hsonet_mm.FSAssociationHead', in_channels=[8, 8, 8, 8, 32], channels=8, association_channels=8,
        num_classes=2, out_channels=1, threshold=0.4, norm_cfg=norm, align_corners=False, prior=0.4,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)),
"""

FCN = """
    neck=dict(type='FeatureFusionNeck', policy='abs_diff'),
    decode_head=dict(
        type='mmseg.FCNHead', in_channels=32, in_index=3, channels=8, num_convs=1, num_classes=2,
        concat_input=False, norm_cfg=norm, align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss')),
"""


def build(config_path):
    config = Config.fromfile(config_path)
    init_default_scope('opencd')
    config.model.backbone.init_cfg = None
    return MODELS.build(config.model)


def make_model(folder, name, rest):
    """A config and a checkpoint of random weights whose predictions hold both classes."""
    config = folder / f'{name}.py'
    config.write_text(COMMON.replace('{rest}', rest))
    torch.manual_seed(0)
    model = build(config)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
    classifier = model.eval().decode_head.conv_seg
    classifier.bias.data.zero_()
    pair = torch.from_numpy((np.dstack([image(1), image(2)]).astype(np.float32) - 120) / 60)
    with torch.no_grad():
        logits = model.encode_decode(pair.permute(2, 0, 1)[None], [{'img_shape': pair.shape[:2]}])[0]
        margin = logits[-1] - logits[0] * (len(logits) - 1)
        classifier.weight /= margin.std()
        classifier.bias[-1] = -margin.median() / margin.std()
    torch.save({'state_dict': model.state_dict(), 'meta': {'iter': 7}}, folder / f'{name}.pth')
    return config, folder / f'{name}.pth'


load = ChangeDetector.from_checkpoint


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    return {name: make_model(folder, name, rest) for name, rest in (('hsonet', HSONET), ('fcn', FCN))}


@pytest.fixture(scope='module')
def detector(models):
    return load(*models['hsonet'])


def image(seed, height=50, width=70):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def folders(tmp_path):
    for date in ('A', 'B'):
        (tmp_path / date).mkdir()
        for index in range(3):
            cv2.imwrite(str(tmp_path / date / f'{index}.png'), image(10 * index + ord(date)))
    return tmp_path / 'A', tmp_path / 'B', tmp_path / 'out'


def read(path):
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None, path
    return found


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


def test_folders(detector, folders, capsys):
    t1, t2, out = folders
    cv2.imwrite(str(t2 / '1.jpg'), read(t2 / '1.png'))
    (t2 / '1.png').unlink()  # endings may differ
    (t1 / 'notes.txt').write_text('not an image')
    summary = predict_paths(detector, t1, t2, out, progress=True)
    kinds = ('mask', 'overlay', 'prob')
    assert sorted(path.name for path in out.iterdir()) == [
        f'{n}_{kind}.png' for n in range(3) for kind in kinds
    ]
    prediction = detector.predict(read(t1 / '0.png'), read(t2 / '0.png'), channel_order='bgr')
    mask, prob, overlay = (read(out / f'0_{kind}.png') for kind in ('mask', 'prob', 'overlay'))
    assert mask.dtype == prob.dtype == np.uint8
    assert mask.shape == prob.shape == (50, 70)
    np.testing.assert_array_equal(mask, prediction.mask * 255)
    assert abs(prob / 255 - prediction.probs).max() <= 0.5 / 255 + 1e-6
    np.testing.assert_array_equal(overlay, draw_overlay(read(t2 / '0.png'), prediction.mask))
    changed = sum(int((read(out / f'{n}_mask.png') == 255).sum()) for n in range(3))
    assert (summary.pairs, summary.changed, summary.pixels) == (3, changed, 3 * 50 * 70)
    assert summary.changed_share == changed / (3 * 50 * 70)
    assert summary.failures == summary.warnings == ()
    assert capsys.readouterr().err == ''  # progress is for terminals


def test_two_images_are_named_after_the_second(detector, folders):
    t1, t2, out = folders
    assert predict_paths(detector, t1 / '0.png', t2 / '1.png', out).pairs == 1
    assert sorted(path.name for path in out.iterdir()) == ['1_mask.png', '1_overlay.png', '1_prob.png']


def test_results_are_replaced(detector, folders):
    t1, t2, out = folders
    out.mkdir()
    (out / '0_mask.png').write_bytes(b'old')
    predict_paths(detector, t1, t2, out)
    assert read(out / '0_mask.png').shape == (50, 70)


def test_a_full_disk_ends_the_run(detector, folders, monkeypatch):
    t1, t2, out = folders
    tried = []

    def full(self, data):  # noqa: ARG001
        tried.append(self)
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(pathlib.Path, 'write_bytes', full)
    with pytest.raises(UserError, match=r'0_mask.png cannot be written \(No space left on device\)'):
        predict_paths(detector, t1, t2, out, progress=True)
    assert len(tried) == 1
    assert not out.exists()


def test_overlay_marks_only_changed_regions():
    base = image(3)
    mask = np.zeros(base.shape[:2], bool)
    mask[10:20, 30:50] = True
    overlay = draw_overlay(base, mask)
    np.testing.assert_array_equal(overlay[~mask], base[~mask])
    assert (overlay[mask] != base[mask]).any(axis=1).mean() > 0.9
    assert (overlay[10, 30] == overlay[19, 49]).all()  # outlined
    np.testing.assert_array_equal(draw_overlay(base, np.zeros_like(mask)), base)


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


def test_large_images_slide_by_themselves(models, folders, monkeypatch, capsys):
    monkeypatch.setattr('hsonet_mm.inference.window_choice.WHOLE_PIXELS', 50 * 70)
    detector, sliding = load(*models['hsonet']), load(*models['hsonet'], window='slide')
    largest, larger = (image(1), image(2)), (image(1, 50, 71), image(2, 50, 71))
    whole = load(*models['hsonet'], window='whole')
    np.testing.assert_array_equal(
        detector.predict(*largest, channel_order='bgr').probs,
        whole.predict(*largest, channel_order='bgr').probs,
    )
    np.testing.assert_array_equal(
        detector.predict(*larger, channel_order='bgr').probs,
        sliding.predict(*larger, channel_order='bgr').probs,
    )
    t1, t2, out = folders
    for date, seed in ((t1, 1), (t2, 2)):
        cv2.imwrite(str(date / '2.png'), image(seed, 60, 80))
    assert main(['predict', *map(str, models['hsonet']), str(t1), str(t2), '--out', str(out)]) == 0
    assert '1 of 3 in sliding windows of 512 x 512 pixels that share 128' in capsys.readouterr().out


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


def test_a_bad_pair_does_not_stop_the_others(detector, folders):
    t1, t2, out = folders
    (t1 / '0.png').write_bytes((t1 / '0.png').read_bytes()[:-300])
    cv2.imwrite(str(t2 / '1.png'), image(1, 40, 70))
    summary = predict_paths(detector, t1, t2, out)
    assert (summary.pairs, len(summary.failures)) == (1, 2)
    assert str(t1 / '0.png') in summary.failures[0]
    assert '70 x 50' in summary.failures[1]
    assert '70 x 40' in summary.failures[1]
    assert {path.name[0] for path in out.iterdir()} == {'2'}


def test_one_colour_is_a_warning(detector, folders):
    t1, t2, out = folders
    cv2.imwrite(str(t2 / '1.png'), np.full((50, 70, 3), (0, 5, 9), np.uint8))
    summary = predict_paths(detector, t1, t2, out)
    assert summary.pairs == 3
    assert [str(t2 / '1.png') in sentence for sentence in summary.warnings] == [True]


BAD_IMAGES = {
    'truncated': lambda path: path.write_bytes(path.read_bytes()[:-300]),
    'empty': lambda path: path.write_bytes(b''),
    'text': lambda path: path.write_text('hello'),
    'sizes': lambda path: cv2.imwrite(str(path), image(1, 50, 71)),
    'sixteen bits': lambda path: cv2.imwrite(str(path), image(1).astype(np.uint16) * 200),
}


@pytest.mark.parametrize('kind', BAD_IMAGES)
def test_bad_image(detector, folders, kind):
    t1, t2, out = folders
    path = t2 / '1.png'
    BAD_IMAGES[kind](path)
    with pytest.raises(UserError, match=str(path)):
        predict_paths(detector, t1 / '1.png', path, out / 'new')
    assert not out.exists()


def test_no_folder_is_left_where_no_pair_can_be_predicted(detector, folders):
    t1, t2, out = folders
    for path in t1.iterdir():
        path.write_bytes(b'')
    assert len(predict_paths(detector, t1, t2, out).failures) == 3
    assert not out.exists()
    out.mkdir()  # the user's own stays
    predict_paths(detector, t1, t2, out)
    assert list(out.iterdir()) == []


def test_paths_that_do_not_match(detector, folders, tmp_path):
    t1, t2, out = folders
    (tmp_path / 'none').mkdir()
    (t1 / '7.png').write_bytes((t1 / '0.png').read_bytes())
    (t2 / '8.jpg').write_bytes((t1 / '0.png').read_bytes())
    (tmp_path / 'file').write_text('')
    for first, second, target, sentence in [
        (t1 / 'x.png', t2, out, 'x.png does not exist'),
        (t1 / '0.png', t2, out, 'a folder and a file'),
        (tmp_path / 'none', t2, out, 'contains no image'),
        (t1, t2, out, '7.png and 1 more have no image'),
        (t1, t1, t1, 'with --out'),
        (t1, t1, tmp_path / 'file', 'name another place'),
    ]:
        with pytest.raises(UserError, match=sentence):
            predict_paths(detector, first, second, target)
    (t2 / '8.png').write_bytes(b'')
    with pytest.raises(UserError, match='have one name'):
        predict_paths(detector, t1, t2, out)
    assert not out.exists()


def test_names_that_only_scenes_open(detector, folders):
    t1, _, out = folders
    for name in ('/vsizip/a.zip/a.tif', 'https://host/a.tif'):
        with pytest.raises(UserError, match=r'is not a file on this machine: .*hsonet scene'):
            predict_paths(detector, name, t1 / '0.png', out)


def test_a_pipe_is_refused(detector, folders):
    t1, _, out = folders
    os.mkfifo(t1 / 'pipe.png')
    with pytest.raises(UserError, match=r'pipe\.png is a pipe or a device: give two images'):
        predict_paths(detector, t1 / 'pipe.png', t1 / '0.png', out)


def test_share_without_data_is_told(models, folders, capsys):
    t1, t2, out = folders
    picture = np.full((50, 70, 4), 255, np.uint8)
    picture[:10, ..., 3] = 0
    cv2.imwrite(str(t1 / '0.png'), picture)
    command = ['predict', *map(str, models['hsonet']), str(t1 / '0.png'), str(t2 / '0.png'), '-o', str(out)]
    assert main([*command, '--threshold', '0.3']) == 0
    assert 'at threshold 0.3 (given), 20.00% of all have no data, see ' in capsys.readouterr().out


def test_folders_below_are_told(detector, folders):
    t1, t2, out = folders
    for folder in (t1 / 'below', t2 / 'below', t1 / '.hidden', t1 / 'empty', t1 / 'out'):
        folder.mkdir()
    for folder in (t1 / 'below', t1 / '.hidden', t1 / 'out'):
        (folder / '9.png').write_bytes((t1 / '0.png').read_bytes())
    summary = predict_paths(detector, t1, t2, t1 / 'out')
    told = [text for text in summary.warnings if 'subfolders' in text]
    assert told == [f'{t1 / "below"}: images in subfolders are not predicted: give each folder']
    (t1 / 'only').mkdir()
    (t1 / 'below').rename(t1 / 'only/below')
    with pytest.raises(UserError, match=r'only contains no image .*, such as .*only/below$'):
        predict_paths(detector, t1 / 'only', t2, out)


def test_a_broken_link_is_a_failed_pair(detector, folders):
    t1, t2, out = folders
    count = predict_paths(detector, t1, t2, out).pairs
    for folder in (t1, t2):
        (folder / 'link.png').symlink_to(folder / 'gone.png')
    summary = predict_paths(detector, t1, t2, out)
    assert summary.pairs == count
    assert len(summary.failures) == 1
    assert 'link.png does not exist' in summary.failures[0]


def test_images_of_every_kind_count(detector, folders):
    """What a single file may be, a file of a folder may be as well."""
    t1, t2, out = folders
    image = Image.open(t1 / '0.png').convert('RGB')
    for folder in (t1, t2):
        for suffix in ('gif', 'WEBP', 'jp2'):
            image.convert('P' if suffix == 'gif' else 'RGB').save(folder / f'kind {suffix}.{suffix}')
    predict_paths(detector, t1, t2, out)
    assert {path.name for path in out.glob('kind*_mask.png')} == {
        f'kind {suffix}_mask.png' for suffix in ('gif', 'WEBP', 'jp2')
    }


def test_inputs_are_never_overwritten(detector, folders):
    t1, _, _ = folders
    target = t1 / 'b_mask.png'
    target.write_bytes((t1 / '0.png').read_bytes())
    (t1 / 'b.png').write_bytes((t1 / '0.png').read_bytes())
    before = target.read_bytes()
    with pytest.raises(UserError, match=r'b_mask\.png is an image that the result would overwrite'):
        predict_paths(detector, target, t1 / 'b.png', t1)
    assert target.read_bytes() == before
    with pytest.raises(UserError, match=r'0\.png is an image: give a folder'):
        predict_paths(detector, t1 / '0.png', t1 / 'b.png', t1 / '0.png')


def test_one_image_for_both_dates_is_told(detector, folders):
    t1, _, out = folders
    for first in (t1, t1 / '0.png'):
        assert predict_paths(detector, first, first, out).warnings[0] == f'{first} is given for both dates'


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


def test_command(models, folders, capsys):
    t1, t2, out = folders
    command = ['predict', *map(str, models['hsonet']), str(t1), str(t2), '--out', str(out)]
    assert main([*command, '--cfg-options', 'model.decode_head.threshold=0.45']) == 0
    share = np.mean([read(out / f'{n}_mask.png') == 255 for n in range(3)])
    assert (
        capsys.readouterr().out.strip().splitlines()[-1]
        == f"3 pairs predicted, {share:.2%} of the pixels changed at threshold 0.45 (the model's own), see {out}"
    )
    options = ['--threshold', '0.3', '--mode', 'slide', '--crop', '32', '--stride', '16']
    cv2.imwrite(str(t1 / '2.png'), np.zeros((50, 70), np.uint8))
    (t2 / '1.png').write_bytes(b'')
    assert main(command + options) == 2
    output = capsys.readouterr()
    windows, last = output.out.strip().splitlines()
    assert windows.startswith('2 of 2 in sliding windows of 32 x 32 pixels that share 16 (--mode whole')
    assert last.startswith('2 pairs predicted, 1 failed, ')
    assert 'at threshold 0.3 (given), ' in output.out
    assert f'warning: {t1 / "2.png"} is all one colour' in output.err
    assert f'error: {t2 / "1.png"}' in output.err
    expected = load(*models['hsonet'], threshold=0.3, window=(32, 16)).predict(
        read(t1 / '0.png'), read(t2 / '0.png'), channel_order='bgr'
    )
    np.testing.assert_array_equal(read(out / '0_mask.png'), expected.mask * 255)
    assert main([*command, '--threshold', '1.5']) == 2
    assert capsys.readouterr().err.count('\n') == 1


@pytest.mark.parametrize(
    ('options', 'window'),
    [
        ([], None),
        (['--mode', 'whole'], 'whole'),
        (['--mode', 'slide'], 'slide'),
        (['--crop', '320'], (320, None)),
        (['--stride', '64'], (None, 64)),
    ],
)
def test_crop_and_stride_are_a_sliding_window(options, window, models, folders, monkeypatch):
    opened = []

    def stop(*_, **settings):
        opened.append(settings['window'])
        raise UserError('enough')

    monkeypatch.setattr('hsonet_mm.commands.predict.open_detector', stop)
    t1, t2, out = folders
    assert main(['predict', *map(str, models['hsonet']), str(t1), str(t2), '--out', str(out), *options]) == 2
    assert opened == [window]


def test_whole_images_have_no_window(models, folders, capsys):
    t1, t2, out = folders
    command = ['predict', *map(str, models['hsonet']), str(t1), str(t2), '--out', str(out)]
    assert main([*command, '--mode', 'whole', '--stride', '64']) == 2
    assert capsys.readouterr().err.startswith('error: --crop and --stride require --mode slide')


def test_tool(models, folders):
    t1, t2, out = folders
    tool = pathlib.Path(__file__).parents[2] / 'tools' / 'predict.py'
    arguments = [*models['fcn'], t1 / '0.png', t2 / '0.png', '--out', out]
    done = subprocess.run(
        [sys.executable, tool, *arguments],
        env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith('1 pair predicted, ')
    assert len(list(out.iterdir())) == 3


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
