"""Thresholds."""

import numpy as np
import pytest

from hsonet_mm.errors import UserError
from hsonet_mm.logits import check_threshold


@pytest.mark.parametrize('threshold', [0, 1, -0.1, float('nan'), '0.5'])
def test_thresholds_out_of_range(threshold):
    with pytest.raises(
        UserError, match=r'^invalid threshold .* of the head: expected a value between 0 and 1$'
    ):
        check_threshold(threshold, 'the head')


@pytest.mark.parametrize('threshold', [None, 0.5, np.float32(0.3)])
def test_thresholds(threshold):
    check_threshold(threshold)
