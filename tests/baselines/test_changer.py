"""Changer: interactions, flow, hard pixels, and Open-CD's numbers."""

import pytest
import torch
from mmengine.registry import DefaultScope
from resnet_baselines import RESNET, needs_opencd, real, same, share_weights, tiny, truth

from hsonet_mm.baselines import changer
from hsonet_mm.baselines.changer import IA_ResNet
from hsonet_mm.opencd import (
    registry,
    stand_in,  # noqa: F401 (registers detectors and preprocessor beside the real Open-CD)
)

pytestmark = pytest.mark.usefixtures('opencd_scope')

# --- the parts


@pytest.mark.parametrize(
    ('kind', 'p', 'taken'),
    [
        ('ChannelExchange', 1 / 2, [1, 0, 1, 0, 1, 0]),
        ('ChannelExchange', 1 / 3, [1, 0, 0, 1, 0, 0]),
        ('SpatialExchange', 1 / 2, [1, 0, 1, 0, 1, 0]),
        ('SpatialExchange', 1, [1, 1, 1, 1, 1, 1]),
    ],
)
def test_exchange(kind, p, taken):
    x1, x2 = torch.zeros(2, 6, 5, 6), torch.ones(2, 6, 5, 6)
    out1, out2 = getattr(changer, kind)(p=p)(x1, x2)
    shape = (1, 6, 1, 1) if kind == 'ChannelExchange' else (1, 1, 1, 6)
    assert torch.equal(out1, torch.tensor(taken).view(shape).expand_as(x1).float())
    assert torch.equal(out2, 1 - out1)


def test_interactions_follow_each_stage():
    """Without one the dates know nothing of each other; an exchange of all channels swaps them."""
    t1, t2 = torch.randn(2, 1, 3, 32, 64)
    backbone = IA_ResNet(**RESNET)
    backbone.eval()
    with torch.no_grad():
        alone = backbone(t1, t2)
        backbone.ccs[2] = changer.ChannelExchange(p=1)
        swapped = backbone(t1, t2)
        assert [level.shape[1:] for level in alone] == [(16, 8, 16), (32, 4, 8), (64, 2, 4), (128, 1, 2)]
        for level, (one, other) in enumerate(zip(alone, swapped, strict=True)):
            first, second = one.chunk(2, dim=1)
            expected = torch.cat([second, first], dim=1) if level >= 2 else one
            torch.testing.assert_close(other, expected)


def test_two_identity_and_aggregation():
    x1, x2 = torch.randn(2, 2, 32, 4, 6)
    assert changer.TwoIdentity()(x1, x2) == (x1, x2)
    layer = changer.Aggregation_distribution(32).eval()
    for out, x in zip(layer(x1, x2), (x1, x2), strict=True):
        share = out / x
        assert share.shape == x.shape
        assert ((share > 0) & (share < 1)).all()
        torch.testing.assert_close(share, share[..., :1, :1].expand_as(share), atol=1e-5, rtol=1e-4)


def test_flow_moves_features():
    """A flow of (w, 0) points half a map to the right, so that what stands there comes to the middle."""
    from hsonet_mm.baselines.changer import warp

    x = torch.arange(5.0).expand(1, 1, 3, 5)
    flow = torch.zeros(1, 2, 3, 5)
    torch.testing.assert_close(warp(x, flow), x)
    flow[:, 0] = 5.0 / 2  # a quarter of the map, which is 4 pixels from first to last column
    torch.testing.assert_close(warp(x, flow)[0, 0, 0, :4], x[0, 0, 0, 1:])
    assert warp(x.half(), flow.half()).dtype == torch.half


# --- a step of training


def test_changer_learns_from_hard_pixels_alone():
    """With ``min_kept`` of 64 and a threshold that no pixel is under, 128 of 12288 pixels have a weight."""
    model = tiny('changer_ex_r18', **{'decode_head.sampler.thresh': 0.0})
    samples = [truth(64, 96), truth(64, 96)]
    logits = torch.randn(2, 2, 64, 96)
    labels = torch.stack([sample.gt_sem_seg.data for sample in samples])
    weights = model.decode_head.sampler.sample(logits, labels)
    assert weights.sum() == 128
    assert (weights[labels.squeeze(1) == 255] == 0).all()
    sampled = model.decode_head.loss_by_feat(logits, samples)['loss_ce']
    model.decode_head.sampler = None
    assert 0 < sampled < model.decode_head.loss_by_feat(logits, samples)['loss_ce']


# --- beside the real Open-CD


@pytest.mark.parametrize('training', [True, False])
class TestInteractionsAgainstOpenCD:
    pytestmark = needs_opencd

    @pytest.mark.parametrize(
        ('name', 'kwargs'),
        [
            ('TwoIdentity', {}),
            ('ChannelExchange', {}),
            ('ChannelExchange', {'p': 0.3}),
            ('SpatialExchange', {'p': 1 / 4}),
            ('SpatialExchange', {'p': 1}),
            ('Aggregation_distribution', {'channels': 32}),
        ],
    )
    def test_layers(self, training, name, kwargs):
        theirs, ours = real(name)(**kwargs), getattr(changer, name)(**kwargs)
        share_weights(theirs, ours)
        x1, x2 = torch.randn(2, 2, 32, 6, 10)
        same(tuple(theirs.train(training)(x1, x2)), tuple(ours.train(training)(x1, x2)))

    @pytest.mark.parametrize('name', ['IA_ResNet', 'IA_ResNetV1c'])
    def test_backbones(self, training, name):
        interactions = (None, {'type': 'SpatialExchange'}, {'type': 'ChannelExchange', 'p': 1 / 4}, None)
        ours = registry.MODELS.build({'type': name, 'interaction_cfg': interactions, **RESNET})
        with DefaultScope.overwrite_default_scope('opencd'):
            theirs = real(name)(interaction_cfg=interactions, **RESNET)
        share_weights(theirs, ours)
        t1, t2 = torch.randn(2, 2, 3, 64, 96)
        for backbone in (theirs, ours):
            backbone.train(training)
        same(theirs(t1, t2), ours(t1, t2))
        for key, value in theirs.state_dict().items():
            same(value, ours.state_dict()[key])
