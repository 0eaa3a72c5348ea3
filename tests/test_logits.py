"""Probabilities and their logits."""

import numpy as np
import pytest
from scipy.special import expit, logit

from hsonet_mm.errors import UserError
from hsonet_mm.logits import check_threshold, times_logit


@pytest.mark.parametrize('prob', [1e-12, 0.2, 0.5, 0.9, 1 - 1e-12])
@pytest.mark.parametrize('factor', [1e-3, 1.0, 30.0])
def test_times_logit(prob, factor):
    assert times_logit(prob, factor) == pytest.approx(expit(factor * logit(prob)), rel=1e-9)


@pytest.mark.parametrize('threshold', [0, 1, -0.1, float('nan'), '0.5'])
def test_thresholds_out_of_range(threshold):
    with pytest.raises(
        UserError, match=r'^invalid threshold .* of the head: expected a value between 0 and 1$'
    ):
        check_threshold(threshold, 'the head')


@pytest.mark.parametrize('threshold', [None, 0.5, np.float32(0.3)])
def test_thresholds(threshold):
    check_threshold(threshold)
