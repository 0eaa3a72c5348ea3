"""Numbers of an inference: what auto chooses, and how far bfloat16 is from float32."""

import numpy as np
import pytest
import torch

from hsonet_mm import ChangeDetector
from hsonet_mm.errors import UserError
from hsonet_mm.inference import precision


@pytest.mark.parametrize(
    ('name', 'has', 'expected'),
    [('auto', True, True), ('auto', False, False), ('fp32', True, False), ('bf16', False, True)],
)
def test_choice_on_a_cpu(monkeypatch, name, has, expected):
    monkeypatch.setattr(precision, 'has_bf16', lambda: has)
    with precision.autocast(name, torch.device('cpu'))():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if expected else torch.float32)


def test_auto_leaves_a_gpu_in_float32(monkeypatch):
    monkeypatch.setattr(precision, 'has_bf16', lambda: True)
    with precision.autocast('auto', torch.device('cuda'))():
        assert not torch.is_autocast_enabled('cuda')


def test_unknown_precision():
    with pytest.raises(UserError, match=r"invalid precision 'fp8': expected one of auto, fp32, bf16"):
        precision.autocast('fp8', torch.device('cpu'))


def test_a_detector_computes_in_bfloat16_and_answers_in_float32(tiny_checkpoint):
    rng = np.random.default_rng(0)
    t1, t2 = rng.integers(0, 256, (2, 1, 64, 64, 3), dtype=np.uint8)
    probs = {
        name: ChangeDetector.from_checkpoint(*tiny_checkpoint, window='whole', precision=name).probs(
            t1, t2, channel_order='bgr'
        )
        for name in ('fp32', 'bf16')
    }
    assert probs['bf16'].dtype == np.float32
    difference = abs(probs['bf16'] - probs['fp32'])
    assert difference.max() > 0  # else it was not used
    assert difference.mean() < 0.02
    rounded = torch.from_numpy(probs['bf16']).bfloat16().float().numpy()
    assert (rounded != probs['bf16']).mean() > 0.5  # the sigmoid is not one of bfloat16, which ends in ones
