"""Calibrated models: temperature and threshold of a file beside them, and what such a file must not be."""

import numpy as np
import pytest
import torch
from onnx_models import image, write_onnx, write_sidecar

from hsonet_mm import ChangeDetector
from hsonet_mm.errors import UserError
from hsonet_mm.inference.calibration import apply_temperature, sidecar_of

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture
def model(tmp_path):
    return write_onnx(tmp_path / 'model.onnx')


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
