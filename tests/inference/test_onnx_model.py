"""Exported models in ONNX Runtime: what they predict and say, and files that are none."""

import cv2
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


def test_onnx_says_what_it_is(model):
    detector = ChangeDetector.from_onnx(model)
    assert detector.name == 'model.onnx'
    assert {'hsonet_mm', 'onnxruntime', 'torch of the export'} <= detector.versions.keys()


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
