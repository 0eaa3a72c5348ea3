"""Decoders of pyramid and detail; the former also against loops in NumPy, which know only the names of the weights."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import BN, SIZES, STAGES, encode, pyramid, unlike_new, without_gradient
from torch import nn

from hsonet_mm.models.layers import DetailDecoder, PyramidDecoder

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


@pytest.mark.any_host
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


@pytest.mark.any_host
def test_farseg_enlarges_with_aligned_corners():
    """``UpsamplingBilinear2d``, FarSeg's, is the decoder's step with ``align_corners=True``, and not with False."""
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    farseg = nn.UpsamplingBilinear2d(scale_factor=2)(x)[0].numpy()
    np.testing.assert_allclose(enlarged(x[0].numpy(), (6, 8), True), farseg, rtol=1e-10)
    assert np.abs(enlarged(x[0].numpy(), (6, 8), False) - farseg).max() > 0.01


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('align_corners', [False, True])
def test_decoder_as_written(size, align_corners):
    decoder = unlike_new(PyramidDecoder([8, 8, 8, 8], 4, BN, align_corners=align_corners))
    c2, c3, c4, c5 = pyramid([8] * 4, size)

    def up(x, like):
        return F.interpolate(x, size=like.shape[2:], mode='bilinear', align_corners=align_corners)

    level2, level3, level4, level5 = decoder.levels
    d2 = encode(level2[0], c2)
    d3 = up(encode(level3[0], c3), c2)
    d4 = up(encode(level4[1], up(encode(level4[0], c4), c3)), c2)
    d5 = up(encode(level5[2], up(encode(level5[1], up(encode(level5[0], c5), c4)), c3)), c2)
    assert [len(level) for level in decoder.levels] == [1, 1, 2, 3]
    torch.testing.assert_close(decoder([c2, c3, c4, c5]), (d2 + d3 + d4 + d5) / 4)


def test_decoder_takes_levels_of_different_widths():
    decoder = PyramidDecoder(STAGES, 4, BN)
    out = decoder(pyramid(STAGES, (45, 71)))
    assert out.shape == (2, 4, 12, 18)
    out.square().mean().backward()
    assert without_gradient(decoder) == []


@pytest.mark.parametrize('coarser', [[], [6], [6, 4]])
def test_detail_decoder_trains_as_one_with_concatenations(coarser):
    """Outputs, batch statistics and gradients; the width of the context and the sizes are not those of the maps."""
    decoder = DetailDecoder([8, *coarser], 5, 3, BN).double().train()
    sizes = [(22, 35), (11, 18), (6, 9)]
    detail = [torch.randn(2, c, *size).double() for c, size in zip([8, *coarser], sizes, strict=False)]
    context = torch.randn(2, 5, 6, 9).double().requires_grad_()
    twin, twin_context = copy.deepcopy(decoder), context.detach().clone().requires_grad_()

    def joined(x, *others):
        return torch.cat([x, *(F.interpolate(y, x.shape[2:], mode='bilinear') for y in others)], dim=1)

    def concatenated(block, x):
        y = F.conv2d(x, block.conv.weight, padding=1)
        return F.relu(block.bn(y))

    below = []
    for x, block in zip(detail[:0:-1], twin.coarser, strict=True):
        below = [concatenated(block, joined(x, *below))]
    first, second = twin.finest
    expected = second(concatenated(first, joined(detail[0], *below, twin_context)))
    out = decoder(detail, context)
    torch.testing.assert_close(out, expected)
    for y in (out, expected):
        (y * torch.arange(y.numel()).view_as(y)).sum().backward()
    torch.testing.assert_close(context.grad, twin_context.grad)
    for one, other in zip(decoder.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    for one, other in zip(decoder.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(decoder.eval()(detail, context), twin.eval()(detail, context))


def test_decoder_keeps_the_order_of_its_levels():
    decoder = PyramidDecoder([4, 4], 8).eval()
    levels = [torch.randn(2, 4, size, size).to(memory_format=torch.channels_last) for size in (8, 4)]
    decoded = decoder(levels)
    assert decoded.is_contiguous(memory_format=torch.channels_last)
    finest, upsampled = decoder([levels[0], 0 * levels[1]]), decoder([0 * levels[0], levels[1]])
    nothing = decoder([0 * x for x in levels])
    torch.testing.assert_close(finest + upsampled - nothing, decoded)  # the mean of what each level gives
