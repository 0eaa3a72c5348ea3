"""Scenes by a trained checkpoint in PyTorch: what its detector says about the same pixels, tile by tile."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
from rasterio.transform import from_origin

from hsonet_mm import ChangeDetector
from hsonet_mm.inference.calibration import Calibration, write_calibration
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene

TILE, OVERLAP = 128, 64
TILES = ('--tile', TILE, '--overlap', OVERLAP, '--float32', '--min-area', 0)


def write_scene(path, image):
    """Write an image (H, W, 3) in BGR as a georeferenced raster."""
    height, width, _ = image.shape
    profile = {
        'driver': 'GTiff', 'count': 3, 'height': height, 'width': width, 'dtype': 'uint8',
        'crs': 'EPSG:32633', 'transform': from_origin(500_000, 5_000_000, 0.5, 0.5),
    }  # fmt: skip
    with rasterio.open(path, 'w', **profile) as raster:
        raster.write(image[..., ::-1].transpose(2, 0, 1))
    return path


@pytest.fixture(scope='module')
def dates():
    """Two dates of 100 x 184 pixels that differ nearly everywhere."""
    rng = np.random.default_rng(0)
    return [
        cv2.resize(
            rng.integers(0, 256, (13, 23, 3), dtype=np.uint8), (184, 100), interpolation=cv2.INTER_CUBIC
        )
        for _ in range(2)
    ]


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


@pytest.fixture
def scene(dates, tiny_checkpoint, hsonet, tmp_path):
    """A function that runs ``hsonet scene`` on a part of the dates: probabilities, mask and summary."""

    def run(part, *options, model=tiny_checkpoint):
        before, after = (
            write_scene(tmp_path / f'{name}.tif', image[part])
            for name, image in zip(('before', 'after'), dates, strict=True)
        )
        out = tmp_path / 'change.tif'
        code, _, stderr = hsonet('scene', *model, before, after, '-o', out, *TILES, *options)
        assert code == 0, stderr
        summary = json.loads(out.with_suffix('.json').read_text())
        return read(out), read(out.with_name('change_mask.tif')), summary

    return run


@pytest.fixture(scope='module')
def detector(tiny_checkpoint):
    return ChangeDetector.from_checkpoint(*tiny_checkpoint, window='whole', precision='fp32')


def test_a_scene_of_one_tile_is_one_prediction(scene, detector, dates):
    part = np.s_[:96, :128]
    probs, mask, summary = scene(part)
    expected = detector.predict(*(image[part] for image in dates), channel_order='bgr')
    assert expected.probs.std() > 0.01  # or the comparison says nothing
    np.testing.assert_allclose(probs, expected.probs, atol=1e-5)
    sure = abs(expected.probs - expected.threshold) > 1e-4
    np.testing.assert_array_equal(mask[sure], expected.mask[sure])
    assert summary['threshold'] == expected.threshold == 0.5
    assert summary['threshold_source'] == "the model's own"
    assert summary['model'] == 'tiny.py trained.pth'
    assert 0 < summary['changed_pixels'] < mask.size
    assert summary['changed_pixels'] == (mask == 1).sum()


def test_every_tile_is_a_prediction_of_its_own(scene, detector, dates):
    """Two tiles, columns 0 to 127 and 64 to 183, of rows that 32 does not divide: continued by reflection."""
    probs, _, _ = scene(np.s_[:], '--threshold', 0.3)
    assert probs.shape == (100, 184)
    padded = [cv2.copyMakeBorder(image, 0, 28, 0, 8, cv2.BORDER_REFLECT_101) for image in dates]
    left = detector.predict(*(image[:, :TILE] for image in padded), channel_order='bgr').probs
    right = detector.predict(
        *(image[:, OVERLAP : OVERLAP + TILE] for image in padded), channel_order='bgr'
    ).probs
    first, last = OVERLAP + OVERLAP // 4, TILE - OVERLAP // 4  # where both tiles count
    np.testing.assert_allclose(probs[:, :first], left[:100, :first], atol=1e-5)
    np.testing.assert_allclose(probs[:, last:], right[:100, last - OVERLAP : -8], atol=1e-5)
    both = np.stack([left[:100, first:last], right[:100, first - OVERLAP : last - OVERLAP]])
    assert (probs[:, first:last] <= both.max(0) + 1e-5).all()
    assert (probs[:, first:last] >= both.min(0) - 1e-5).all()
    assert abs(left[:100, last:] - right[:100, last - OVERLAP : OVERLAP]).max() > 1e-3  # tiles do differ


def test_date_swap_averages_two_predictions(scene, detector, dates):
    part = np.s_[:96, :128]
    probs, _, summary = scene(part, '--tta', 'swap')
    t1, t2 = (image[part] for image in dates)
    expected = (
        detector.predict(t1, t2, channel_order='bgr').probs
        + detector.predict(t2, t1, channel_order='bgr').probs
    ) / 2
    np.testing.assert_allclose(probs, expected, atol=1e-5)
    assert summary['tta'] == ['swap']


def test_calibration_beside_the_checkpoint_counts(scene, tiny_checkpoint, dates, tmp_path):
    config, checkpoint = tiny_checkpoint
    calibrated = tmp_path / 'calibrated.pth'
    calibrated.write_bytes(checkpoint.read_bytes())
    write_calibration(calibrated, Calibration(temperature=3.0, threshold=0.4), {})
    part = np.s_[:96, :128]
    probs, mask, summary = scene(part, model=(config, calibrated))
    expected = ChangeDetector.from_checkpoint(config, calibrated, window='whole')
    assert expected.temperature == 3.0
    np.testing.assert_allclose(
        probs, expected.predict(*(image[part] for image in dates), channel_order='bgr').probs, atol=1e-5
    )
    assert summary['threshold'] == 0.4
    np.testing.assert_array_equal(mask, probs > np.float32(0.4))


def test_8_bits_round_what_the_function_finds(detector, dates, tmp_path):
    part = np.s_[:96, :128]
    before, after = (write_scene(tmp_path / f'{n}.tif', image[part]) for n, image in enumerate(dates))
    options = SceneOptions(tile=TILE, overlap=OVERLAP, polygons='none')
    result = detect_scene(detector, before, after, tmp_path / 'change.tif', options)
    expected = detector.predict(*(image[part] for image in dates), channel_order='bgr').probs
    np.testing.assert_allclose(read(result.files['probs']) / 250, expected, atol=0.5 / 250 + 1e-5)


@pytest.mark.parametrize('choice', [None, 'slide', (32, 32), 'config'])
def test_the_model_sees_a_tile_at_once(tiny_checkpoint, detector, dates, tmp_path, monkeypatch, choice):
    """Whatever the window of the detector or the config is, also where tiles are larger."""
    monkeypatch.setattr('hsonet_mm.inference.window_choice.WHOLE_PIXELS', 1)
    slide = {'model.test_cfg': {'mode': 'slide', 'crop_size': (32, 32), 'stride': (32, 32)}}
    options = {'cfg_options': slide} if choice == 'config' else {'window': choice}
    sliding = ChangeDetector.from_checkpoint(*tiny_checkpoint, precision='fp32', **options)
    part = np.s_[:96, :128]
    images = [image[part] for image in dates]
    expected = detector.predict(*images, channel_order='bgr').probs
    before = sliding.predict(*images, channel_order='bgr').probs
    paths = (write_scene(tmp_path / f'{n}.tif', image) for n, image in enumerate(images))
    made = SceneOptions(tile=TILE, overlap=OVERLAP, polygons='none', float32=True)
    result = detect_scene(sliding, *paths, tmp_path / 'change.tif', made)
    np.testing.assert_allclose(read(result.files['probs']), expected, atol=1e-5)
    after = sliding.predict(*images, channel_order='bgr').probs
    np.testing.assert_array_equal(after, before)
    if choice is not None:
        assert abs(before - expected).max() > 1e-3
