"""A data set of other than three bands: training, test, prediction, calibration and export take it by one option."""

import json

import numpy as np
import pytest
import rasterio
import torch
from helpers import LIGHT
from mmengine.config import ConfigDict
from mmengine.registry import DATASETS, MODELS, DefaultScope

from hsonet_mm import ChangeDetector
from hsonet_mm.bands import adapt_bands, set_bands, set_reading
from hsonet_mm.checkpoints import read_checkpoint
from hsonet_mm.config import read_config
from hsonet_mm.images import Reading

pytest.importorskip('onnxruntime')


def write(path, values, **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, 'w', driver='GTiff', height=values.shape[0], width=values.shape[1], count=values.shape[2],
        dtype=values.dtype, photometric='MINISBLACK', **profile,
    ) as dataset:  # fmt: skip
        dataset.write(values.transpose(2, 0, 1))


@pytest.fixture(scope='module')
def reflectance(tmp_path_factory):
    """Four bands of float32 with NaN in a corner; the fourth band alone shows the change."""
    root, rng = tmp_path_factory.mktemp('bands'), np.random.default_rng(0)
    for split, count in (('train', 4), ('val', 2), ('test', 2)):
        for number in range(count):
            t1 = rng.uniform(0.1, 0.4, (64, 64, 4)).astype(np.float32)
            t2, label = t1.copy(), np.zeros((64, 64, 1), np.uint8)
            t2[20:40, 24:56, 3] = 0.9
            label[20:40, 24:56] = 255
            t2[:8, :8] = np.nan
            for role, values in (('A', t1), ('B', t2), ('label', label)):
                write(root / split / role / f'{number}.tif', values)
    return root


@pytest.mark.parametrize('channels', [1, 2, 4, 7])
def test_adapted_filters_answer_as_before_to_grey(channels):
    weight = torch.randn(5, 3, 3, 3)
    adapted = adapt_bands(weight, channels)
    assert adapted.shape == (5, channels, 3, 3)
    if channels == 1:
        torch.testing.assert_close(adapted[:, 0], weight.sum(1))
    for band in range(channels if channels > 1 else 0):
        torch.testing.assert_close(adapted[:, band], weight[:, band % 3] * 3 / channels)


@pytest.mark.parametrize('backbone', ['hsonet_mm.EfficientNetLite', 'mmseg.ResNetV1c', 'hsonet_mm.PVTv2'])
def test_weights_for_three_bands_are_adapted(backbone, repo, tmp_path):
    """What MMEngine loads into a network of four bands from a checkpoint of its twin of three."""
    options = {
        'hsonet_mm.EfficientNetLite': {'variant': 0},
        'mmseg.ResNetV1c': {'depth': 18},
        'hsonet_mm.PVTv2': {'variant': 'b0'},
    }
    with DefaultScope.overwrite_default_scope('opencd'):
        three = MODELS.build({'type': backbone, **options[backbone]})
        torch.save(three.state_dict(), tmp_path / 'three.pth')
        model = read_config(repo / 'configs/hsonet_lite_levir.py').model
        model.backbone = ConfigDict(type=backbone, **options[backbone])
        model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'three.pth'))
        set_bands(model, 4)
        network = MODELS.build(model)
        network.backbone.init_weights()
    first = next(name for name, value in three.state_dict().items() if value.ndim == 4)
    loaded = network.backbone.state_dict()
    torch.testing.assert_close(loaded[first], adapt_bands(three.state_dict()[first], 4))
    for name, value in three.state_dict().items():
        if name != first:
            torch.testing.assert_close(loaded[name], value)


def test_preprocessor_and_split_follow(repo):
    model = read_config(repo / 'configs/hsonet_levir.py').model
    set_bands(model, 5)
    assert model.backbone_inchannels == model.backbone.in_channels == 5
    assert model.data_preprocessor.mean == [pytest.approx((123.675 + 116.28 + 103.53) / 3)] * 10
    assert len(model.data_preprocessor.std) == 10
    assert not model.data_preprocessor.bgr_to_rgb


@pytest.mark.parametrize('config', ['hsonet_levir.py', 'hsonet_lite_levir.py', 'hsonet_lite_demo.py'])
def test_one_band_goes_through_the_augmentation_of_shipped_configs(repo, tmp_path, config):
    for role, value in (('A', 60), ('B', 90), ('label', 255)):
        values = np.zeros((256, 256, 1), np.uint8)
        values[50:90, 60:120] = value
        write(tmp_path / 'train' / role / '0.tif', values)
    cfg = read_config(repo / 'configs' / config)
    set_reading(cfg, Reading.make(bands='1'))
    cfg.train_dataloader.dataset.data_root = str(tmp_path)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        pairs = DATASETS.build(cfg.train_dataloader.dataset)
        for _ in range(4):
            sample = pairs[0]
            assert sample['inputs'].shape == (2, *sample['data_samples'].gt_sem_seg.shape)


@pytest.mark.parametrize('bands', ['1,2,3,4', '4'])
def test_from_training_to_export(reflectance, write_config, hsonet, tmp_path, bands):
    """Only the options of `train` say how many bands there are, and what becomes 0 to 255."""
    work, config = tmp_path / 'work', write_config(tmp_path / 'tiny.py', LIGHT)
    declared = ('--bands', bands, '--stretch', '0,1')
    channels = len(bands.split(','))
    code, _, told = hsonet('train', config, '--data-root', reflectance, '--work-dir', work, *declared)
    assert code == 0, told
    checkpoint = next(work.glob('best*.pth'), None) or work / 'iter_4.pth'
    reading = Reading.make(bands, '0,1')
    assert read_checkpoint(checkpoint).reading == reading
    for command in (('test', config, checkpoint), ('calibrate', config, checkpoint)):
        code, _, told = hsonet(*command, '--data-root', reflectance)
        assert code == 0, told
    exported = tmp_path / 'model.onnx'
    assert hsonet('export', config, checkpoint, '-o', exported, '--tile', 64)[0] == 0
    pair = [reflectance / 'test' / role / '0.tif' for role in 'AB']
    ours, theirs = ChangeDetector.from_checkpoint(config, checkpoint), ChangeDetector.from_onnx(exported)
    assert ours.reading == theirs.reading == reading
    expected, found = ours.predict(*pair), theirs.predict(*pair)
    np.testing.assert_allclose(found.probs, expected.probs, atol=1e-4)
    assert not found.valid[:8, :8].any()
    assert found.valid.sum() == 64 * 64 - 64
    arrays = [np.random.default_rng(n).integers(0, 255, (32, 32, channels), np.uint8) for n in range(2)]
    assert ours.predict(*arrays).mask.shape == (32, 32)
    *_, told = hsonet('predict', exported, *pair, '-o', tmp_path / 'out', '--stretch', '0,0.5')
    assert 'the model was trained with --stretch 0,1; --stretch 0,0.5 differs from that' in told
    code, _, told = hsonet('predict', exported, *pair, '-o', tmp_path / 'out', '--bands', '1,2,3')
    assert code == 2
    assert f'takes {channels} band' in told
    assert 'per date, not 3' in told


def test_prepared_tiles_keep_bands_and_gaps(reflectance, hsonet, tmp_path):
    declared = ('--bands', '1,2,3,4', '--stretch', '0,1')
    code, _, told = hsonet('prepare', reflectance, tmp_path / 'out', '--tile', 32, *declared)
    assert code == 0, told
    with rasterio.open(tmp_path / 'out' / 'test' / 'B' / '0_00000_00000.tif') as dataset:
        assert dataset.count == 4
        assert (dataset.dataset_mask()[:8, :8] == 0).all()
        assert (dataset.dataset_mask() > 0).sum() == 32 * 32 - 64
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    assert manifest['parameters']['reading'] == {'bands': '1,2,3,4', 'stretch': '0,1', 'nodata': None}
