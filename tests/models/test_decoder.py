"""The pyramid decoder against loops in NumPy, which know only the names of the weights."""

import numpy as np
import pytest
import torch
from torch import nn

from hsonet_mm.models.layers import PyramidDecoder

pytestmark = pytest.mark.any_host

LEVELS, WIDTH = (3, 4, 2), 3


def block(weights, name, x):
    """3x3 convolution with zeros around, batch norm and ReLU of x (C, H, W), place by place."""
    w = weights[f'{name}.conv.weight']
    mean, var, gain, shift = (
        weights[f'{name}.bn.{key}'] for key in ('running_mean', 'running_var', 'weight', 'bias')
    )
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(w), *x.shape[1:]))
    for row, column in np.ndindex(*x.shape[1:]):
        y = np.tensordot(w, padded[:, row : row + 3, column : column + 3], axes=3)
        out[:, row, column] = np.maximum((y - mean) / np.sqrt(var + 1e-5) * gain + shift, 0)
    return out


def enlarged(x, size, align_corners):
    """Bilinear interpolation of x (C, H, W), one output pixel after the other."""

    def source(i, to, of):
        if align_corners:
            return i * (of - 1) / (to - 1) if to > 1 else 0.0
        return min(max((i + 0.5) * of / to - 0.5, 0.0), of - 1.0)

    out = np.zeros((len(x), *size))
    for row, column in np.ndindex(*size):
        v, u = source(row, size[0], x.shape[1]), source(column, size[1], x.shape[2])
        top, left = int(v), int(u)
        bottom, right = min(top + 1, x.shape[1] - 1), min(left + 1, x.shape[2] - 1)
        a, b = v - top, u - left
        upper = (1 - b) * x[:, top, left] + b * x[:, top, right]
        lower = (1 - b) * x[:, bottom, left] + b * x[:, bottom, right]
        out[:, row, column] = (1 - a) * upper + a * lower
    return out


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('sizes', [((8, 12), (4, 6), (2, 3)), ((7, 9), (4, 5), (2, 3))])
def test_equals_the_loops(sizes, align_corners, trained_network):
    """Halved sizes, where FarSeg's enlargement by two is the same, and odd ones, where it is not defined."""
    torch.manual_seed(0)
    module = trained_network(PyramidDecoder(LEVELS, WIDTH, {'type': 'BN'}, align_corners))
    levels = [torch.randn(2, c, *size, dtype=torch.float64) for c, size in zip(LEVELS, sizes, strict=True)]
    weights = {key: value.numpy() for key, value in module.state_dict().items()}
    with torch.no_grad():
        out = module(levels)
    for n in range(2):
        p2, p3, p4 = (level[n].numpy() for level in levels)
        d2 = block(weights, 'levels.0.0', p2)
        d3 = enlarged(block(weights, 'levels.1.0', p3), sizes[0], align_corners)
        d4 = enlarged(block(weights, 'levels.2.0', p4), sizes[1], align_corners)
        d4 = enlarged(block(weights, 'levels.2.1', d4), sizes[0], align_corners)
        np.testing.assert_allclose(out[n].numpy(), (d2 + d3 + d4) / 3, rtol=1e-10, atol=1e-12)


def test_farseg_enlarges_with_aligned_corners():
    """``UpsamplingBilinear2d``, FarSeg's, is the decoder's step with ``align_corners=True``, and not with False."""
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    farseg = nn.UpsamplingBilinear2d(scale_factor=2)(x)[0].numpy()
    np.testing.assert_allclose(enlarged(x[0].numpy(), (6, 8), True), farseg, rtol=1e-10)
    assert np.abs(enlarged(x[0].numpy(), (6, 8), False) - farseg).max() > 0.01
