"""Foreground-scene association: its forms, and its equations in NumPy, which know only the names of the weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import BN, SIZES, dates, encode, unlike_new, without_gradient
from torch import nn

from hsonet_mm.models.layers import SceneAssociation

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


def oracle(weights, levels, scene, scale_aware, residual, scaled):
    """The equations of FarSeg for one image: levels (C_i, H_i, W_i), scene (C,)."""
    outs = []
    for i, p in enumerate(levels):
        j = i if scale_aware else 0
        w1, b1, w2, b2 = (
            weights[f'scene_encoders.{j}.{layer}.{kind}'] for layer in (0, 2) for kind in ('weight', 'bias')
        )
        s = w2[:, :, 0, 0] @ np.maximum(w1[:, :, 0, 0] @ scene + b1, 0) + b2
        product = np.tensordot(s, pixelwise(weights, f'content_encoders.{i}', p), axes=1)
        relation = 1 / (1 + np.exp(-product / (len(s) ** 0.5 if scaled else 1)))
        z = relation * pixelwise(weights, f'feature_encoders.{i}', p)
        if residual:
            w, b = (weights[f'residual_projections.{i}.{kind}'] for kind in ('weight', 'bias'))
            z = np.tensordot(w[:, :, 0, 0], np.concatenate([z, p]), axes=1) + b[:, None, None]
        outs.append(z)
    return outs


@pytest.mark.any_host
@pytest.mark.parametrize('scaled', [False, True])
@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('scale_aware', [False, True])
def test_equals_the_equations(scale_aware, residual, scaled, trained_network):
    torch.manual_seed(0)
    module = trained_network(
        SceneAssociation(LEVELS, SCENE, WIDTH, scale_aware, residual, {'type': 'BN'}, scaled)
    )
    levels = [torch.randn(2, c, 6 // (k + 1), 5, dtype=torch.float64) for k, c in enumerate(LEVELS)]
    scene = torch.randn(2, SCENE, 1, 1, dtype=torch.float64)
    weights = {key: value.numpy() for key, value in module.state_dict().items()}
    with torch.no_grad():
        outs = module(levels, scene)
    for n in range(2):
        expected = oracle(
            weights,
            [p[n].numpy() for p in levels],
            scene[n].flatten().numpy(),
            scale_aware,
            residual,
            scaled,
        )
        assert len(outs) == len(expected)
        for out, z in zip(outs, expected, strict=True):
            np.testing.assert_allclose(out[n].numpy(), z, rtol=1e-10, atol=1e-12)
            assert np.ptp(z) > 0.1


@pytest.mark.any_host
def test_without_normalisation():
    """Convolutions have a bias then, as in MMCV."""
    keys = SceneAssociation(LEVELS, SCENE, WIDTH).state_dict()
    assert 'content_encoders.0.conv.bias' in keys
    assert not [key for key in keys if '.bn.' in key]


def association(**kwargs):
    return unlike_new(SceneAssociation([8, 8, 8, 8], 12, 6, norm_cfg=BN, **kwargs))


@pytest.mark.parametrize('size', SIZES)
def test_association_as_written(size):
    module = association(scaled=False)
    *levels, g = dates(size)
    for i, (z, r) in enumerate(zip(module(levels, g), module.relations(levels, g), strict=True)):
        first, _, second = module.scene_encoders[i]
        w1, w2 = first.weight[..., 0, 0], second.weight[..., 0, 0]
        s = (g[..., 0, 0] @ w1.T + first.bias).clamp_min(0) @ w2.T + second.bias
        relation = torch.einsum('nc,nchw->nhw', s, encode(module.content_encoders[i], levels[i])).sigmoid()
        torch.testing.assert_close(r, relation[:, None])
        torch.testing.assert_close(z, relation[:, None] * encode(module.feature_encoders[i], levels[i]))
        assert ((r > 0) & (r < 1)).all()


def test_association_without_a_relation_halves_the_features():
    module = association()
    for encoder in module.scene_encoders:
        nn.init.zeros_(encoder[-1].weight)
        nn.init.zeros_(encoder[-1].bias)
    *levels, g = dates()
    assert all((r == 0.5).all() for r in module.relations(levels, g))
    for z, encoder, p in zip(module(levels, g), module.feature_encoders, levels, strict=True):
        assert torch.equal(z, 0.5 * encoder(p))


@pytest.mark.parametrize('residual', [False, True])
def test_association_is_pointwise_given_the_scene(residual):
    module = association(residual=residual)
    *levels, g = dates()
    before = module(levels, g)
    changed = [p.clone() for p in levels]
    for p in changed:
        p[0, :, 1, 0] += 1
    places = [
        (a - b).abs().amax(dim=1).nonzero().tolist() for a, b in zip(before, module(changed, g), strict=True)
    ]
    assert [[0, 1, 0]] in places
    assert all(place in ([], [[0, 1, 0]]) for place in places)  # a ReLU may hide a change


def test_association_follows_the_scene():
    module = association()
    *levels, g = dates()
    for a, b in zip(module.relations(levels, g), module.relations(levels, g + 1), strict=True):
        assert not torch.allclose(a, b)


def test_forms_are_converted_by_the_root_of_the_channels():
    scaled, farseg = association(), association(scaled=False)
    weights = farseg.state_dict()
    for level in range(4):
        for kind in ('weight', 'bias'):
            weights[f'scene_encoders.{level}.2.{kind}'] = weights[f'scene_encoders.{level}.2.{kind}'] * 6**0.5
    *levels, g = dates()
    assert not torch.allclose(scaled.relations(levels, g)[0], farseg.relations(levels, g)[0])
    scaled.load_state_dict(weights)
    for a, b in zip(scaled.relations(levels, g), farseg.relations(levels, g), strict=True):
        torch.testing.assert_close(a, b)


def test_association_with_a_shared_scene():
    shared, aware = association(scale_aware=False), association()
    assert (len(shared.scene_encoders), len(aware.scene_encoders)) == (1, 4)
    weights = shared.state_dict()
    copies = {
        key.replace('encoders.0', f'encoders.{i}', 1): weights[key]
        for key in weights
        if key.startswith('scene_encoders')
        for i in range(4)
    }
    aware.load_state_dict({**weights, **copies})
    *levels, g = dates()
    for a, b in zip(shared(levels, g), aware(levels, g), strict=True):
        torch.testing.assert_close(a, b)


def test_association_in_residual_form():
    residual = association(residual=True)
    plain = association()
    plain.load_state_dict(residual.state_dict(), strict=False)
    *levels, g = dates()
    projections = residual.residual_projections
    for out, z, p, project in zip(residual(levels, g), plain(levels, g), levels, projections, strict=True):
        assert out.shape == z.shape
        expected = F.conv2d(z, project.weight[:, :6]) + F.conv2d(p, project.weight[:, 6:], project.bias)
        torch.testing.assert_close(out, expected)


@pytest.mark.parametrize('settings', [{}, {'scale_aware': False}, {'residual': True}])
def test_association_trains_whole(settings):
    module = SceneAssociation([8, 8, 8, 8], 12, 6, norm_cfg=BN, **settings)
    *levels, g = dates()
    sum(z.square().mean() for z in module(levels, g)).backward()
    assert without_gradient(module) == []
