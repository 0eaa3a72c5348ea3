"""Exported models as a whole or by sliding windows."""

import numpy as np
import pytest
from onnx_models import expected, image, write_onnx

from hsonet_mm import ChangeDetector
from hsonet_mm.errors import UserError
from hsonet_mm.windows import Window

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture
def model(tmp_path):
    return write_onnx(tmp_path / 'model.onnx')


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
