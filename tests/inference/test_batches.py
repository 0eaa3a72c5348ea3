"""Batches of image arrays: probabilities, and one sentence for every mistake."""

import numpy as np
import pytest
from onnx_models import expected, image, write_onnx

from hsonet_mm import ChangeDetector
from hsonet_mm.errors import UserError

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture
def model(tmp_path):
    return write_onnx(tmp_path / 'model.onnx')


def test_probs_of_a_batch(model):
    t1, t2 = np.stack([image(1), image(2), image(3)]), np.stack([image(4), image(5), image(6)])
    np.testing.assert_allclose(
        ChangeDetector.from_onnx(model).probs(t1, t2, channel_order='bgr'), expected(t1, t2), atol=1e-6
    )


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
