"""Foreground-scene association against its equations in NumPy, which know only the names of the weights."""

import numpy as np
import pytest
import torch

from hsonet_mm.models.layers import SceneAssociation

pytestmark = pytest.mark.any_host

LEVELS, SCENE, WIDTH = (5, 7), 6, 4


def pixelwise(weights, name, x):
    """A 1x1 convolution, batch norm and ReLU: x (C, H, W) pixel by pixel."""
    w = weights[f'{name}.conv.weight'][:, :, 0, 0]
    mean, var, gain, shift = (
        weights[f'{name}.bn.{key}'][:, None, None]
        for key in ('running_mean', 'running_var', 'weight', 'bias')
    )
    y = np.tensordot(w, x, axes=1)
    return np.maximum((y - mean) / np.sqrt(var + 1e-5) * gain + shift, 0)


def oracle(weights, levels, scene, scale_aware, residual):
    """The equations of FarSeg for one image: levels (C_i, H_i, W_i), scene (C,)."""
    outs = []
    for i, p in enumerate(levels):
        j = i if scale_aware else 0
        w1, b1, w2, b2 = (
            weights[f'scene_encoders.{j}.{layer}.{kind}'] for layer in (0, 2) for kind in ('weight', 'bias')
        )
        s = w2[:, :, 0, 0] @ np.maximum(w1[:, :, 0, 0] @ scene + b1, 0) + b2
        relation = 1 / (1 + np.exp(-np.tensordot(s, pixelwise(weights, f'content_encoders.{i}', p), axes=1)))
        z = relation * pixelwise(weights, f'feature_encoders.{i}', p)
        if residual:
            w, b = (weights[f'residual_projections.{i}.{kind}'] for kind in ('weight', 'bias'))
            z = np.tensordot(w[:, :, 0, 0], np.concatenate([z, p]), axes=1) + b[:, None, None]
        outs.append(z)
    return outs


@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('scale_aware', [False, True])
def test_equals_the_equations(scale_aware, residual, trained_network):
    torch.manual_seed(0)
    module = trained_network(SceneAssociation(LEVELS, SCENE, WIDTH, scale_aware, residual, {'type': 'BN'}))
    levels = [torch.randn(2, c, 6 // (k + 1), 5, dtype=torch.float64) for k, c in enumerate(LEVELS)]
    scene = torch.randn(2, SCENE, 1, 1, dtype=torch.float64)
    weights = {key: value.numpy() for key, value in module.state_dict().items()}
    with torch.no_grad():
        outs = module(levels, scene)
    for n in range(2):
        expected = oracle(
            weights, [p[n].numpy() for p in levels], scene[n].flatten().numpy(), scale_aware, residual
        )
        assert len(outs) == len(expected)
        for out, z in zip(outs, expected, strict=True):
            np.testing.assert_allclose(out[n].numpy(), z, rtol=1e-10, atol=1e-12)
            assert np.ptp(z) > 0.1


def test_without_normalisation():
    """Convolutions have a bias then, as in MMCV."""
    keys = SceneAssociation(LEVELS, SCENE, WIDTH).state_dict()
    assert 'content_encoders.0.conv.bias' in keys
    assert not [key for key in keys if '.bn.' in key]
