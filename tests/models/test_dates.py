"""Both dates of a batch, apart: values, and the memory format forwards and backwards."""

import pytest
import torch

from hsonet_mm.models.layers import split_dates


@pytest.mark.any_host
@pytest.mark.parametrize('pairs', [1, 3])
@pytest.mark.parametrize('training', [False, True])
def test_halves_and_their_gradients_keep_the_memory_format(pairs, training):
    x = torch.randn(2 * pairs, 4, 8, 6).to(memory_format=torch.channels_last).requires_grad_(training)
    t1, t2 = split_dates(x)
    assert torch.equal(torch.cat([t1, t2]), x)
    assert t1.is_contiguous(memory_format=torch.channels_last)
    if training:
        seen = []
        x.register_hook(seen.append)
        y = t1 * t1 + 3 * t2
        y.backward(torch.ones_like(y))
        assert torch.equal(x.grad, torch.cat([2 * t1, torch.full_like(t2, 3)]))
        assert seen[0].is_contiguous(memory_format=torch.channels_last)
