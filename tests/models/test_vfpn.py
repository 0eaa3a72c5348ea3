"""V-FPN: a feature pyramid for each date, their fusion, and the scene."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import FCNHead
from mmseg.models.necks import FPN
from networks import BN, SIZES, STAGES, detail_maps, pyramid
from torch import nn

from hsonet_mm.errors import UserError
from hsonet_mm.models import VFPN


def vfpn(**kwargs):
    return VFPN(**{'in_channels': STAGES, 'out_channels': 12, **kwargs}).eval()


# --- V-FPN


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('n', [1, 2])
def test_vfpn_shapes(size, n):
    t1, t2 = pyramid(STAGES, size, n), pyramid(STAGES, size, n)
    levels = [(n, 24, *x.shape[2:]) for x in t1]
    assert [x.shape for x in vfpn()(t1, t2)] == [*levels, (n, 128, 1, 1)]
    assert [x.shape for x in vfpn(scene_embedding=False)(t1, t2)] == levels
    one = [(n, 12, *x.shape[2:]) for x in t1]
    assert [x.shape for x in vfpn(policy='abs_diff')(t1, t2)] == [*one, (n, 64, 1, 1)]


def test_vfpn_is_a_feature_pyramid_for_each_date():
    neck, (t1, t2) = vfpn(), (pyramid(STAGES, (45, 71)), pyramid(STAGES, (45, 71)))
    lateral, output = [[block.conv for block in blocks] for blocks in (neck.lateral_convs, neck.fpn_convs)]
    for date, features in enumerate((t1, t2)):
        top = None
        for k in reversed(range(4)):
            level = lateral[k](features[k])
            if top is not None:
                level = level + F.interpolate(top, size=level.shape[2:], mode='nearest')
            top = level
            torch.testing.assert_close(neck(t1, t2)[k].chunk(2, dim=1)[date], output[k](level))
        scene = neck(t1, t2)[4].chunk(2, dim=1)[date]
        torch.testing.assert_close(scene, features[-1].mean(dim=(2, 3), keepdim=True))


@pytest.mark.parametrize(
    ('policy', 'fused'),
    [
        ('concat', lambda a, b: torch.cat([a, b], dim=1)),
        ('sum', lambda a, b: a + b),
        ('diff', lambda a, b: b - a),
        ('abs_diff', lambda a, b: torch.maximum(a, b) - torch.minimum(a, b)),
    ],
)
@pytest.mark.parametrize('scene', [True, False])
def test_vfpn_policies(policy, fused, scene):
    neck, t1, t2 = vfpn(policy=policy, scene_embedding=scene), pyramid(STAGES), pyramid(STAGES)
    out = neck(t1, t2)
    assert isinstance(out, tuple)
    assert len(out) == 4 + scene
    for level, a, b in zip(out, neck.embed(t1), neck.embed(t2), strict=True):
        torch.testing.assert_close(level, fused(a, b))


def test_vfpn_has_the_weights_of_an_fpn():
    plain = FPN(in_channels=STAGES, out_channels=12, num_outs=4).eval()
    neck = vfpn(policy='sum', scene_embedding=False)
    assert neck.state_dict().keys() == plain.state_dict().keys()
    neck.load_state_dict(plain.state_dict())
    t1, t2 = pyramid(STAGES), pyramid(STAGES)
    for level, a, b in zip(neck(t1, t2), plain(t1), plain(t2), strict=True):
        torch.testing.assert_close(level, a + b)


@pytest.mark.parametrize('training', [True, False])
def test_vfpn_dates_as_one_batch(training):
    one, two = vfpn(batch_dates=True).train(training), vfpn().train(training)
    one.load_state_dict(two.state_dict())
    t1, t2 = pyramid(STAGES), pyramid(STAGES)
    for a, b in zip(one(t1, t2), two(t1, t2), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(('batch_dates', 'batches'), [(True, 1), (False, 2)])
def test_vfpn_batch_norm_sees_both_dates_as_one_batch(batch_dates, batches):
    neck = vfpn(batch_dates=batch_dates, norm_cfg=BN).train()
    neck(pyramid(STAGES), pyramid(STAGES))
    assert {int(m.num_batches_tracked) for m in neck.modules() if isinstance(m, nn.BatchNorm2d)} == {batches}


@pytest.mark.parametrize('in_index', [0, 2])
@pytest.mark.parametrize('scene', [True, False])
def test_vfpn_feeds_an_ordinary_head(in_index, scene):
    settings = {'channels': 4, 'num_classes': 2, 'norm_cfg': BN, 'dropout_ratio': 0.0}
    settings['loss_decode'] = {'type': 'mmseg.CrossEntropyLoss'}
    ordinary = FCNHead(in_channels=24, in_index=in_index, **settings).eval()
    t1, t2 = pyramid(STAGES), pyramid(STAGES)
    neck = vfpn(scene_embedding=scene)
    assert ordinary(neck(t1, t2)).shape == (2, 2, 16 >> in_index, 16 >> in_index)
    several = FCNHead(
        in_channels=[24] * 4, in_index=[0, 1, 2, 3], input_transform='resize_concat', **settings
    ).eval()
    assert several(neck(t1, t2)).shape == (2, 2, 16, 16)


def test_vfpn_refuses_an_unknown_policy():
    with pytest.raises(
        UserError, match=r"^invalid fusion 'product' of VFPN: expected one of concat, sum, diff"
    ):
        vfpn(policy='product')


# --- detail


@pytest.mark.parametrize('size', SIZES)
def test_vfpn_lets_detail_pass_by(size):
    neck, plain = vfpn(detail=3), vfpn()
    plain.load_state_dict(neck.state_dict())
    d1, d2 = detail_maps(size), detail_maps(size)
    t1, t2 = pyramid(STAGES, size), pyramid(STAGES, size)
    fused = neck([*d1, *t1], [*d2, *t2])
    expected = [*(torch.cat(pair, dim=1) for pair in zip(d1, d2, strict=True)), *plain(t1, t2)]
    for ours, other in zip(fused, expected, strict=True):
        assert torch.equal(ours, other)
    both = vfpn(detail=3, batch_dates=True)
    both.load_state_dict(neck.state_dict())
    for ours, other in zip(both([*d1, *t1], [*d2, *t2]), expected, strict=True):
        torch.testing.assert_close(ours, other)


def test_vfpn_needs_both_dates():
    """Open-CD's DIEncoderDecoder and SiamEncoderMultiDecoder call their neck with one set of features."""
    feats = [torch.randn(2, 8, 8, 8) for _ in STAGES]
    with pytest.raises(
        UserError, match=r'VFPN fuses the features of two dates, .* neck of SiamEncoderDecoder, not of DI'
    ):
        vfpn()(feats)


@pytest.mark.parametrize(('number', 'detail'), [(3, 0), (5, 0), (4, 2)])
def test_vfpn_needs_the_maps_that_it_was_made_for(number, detail):
    feats = [torch.randn(2, 4, 8, 8)] * number
    with pytest.raises(
        UserError, match=f'takes {detail} high-resolution maps and 4 levels, not {number} maps'
    ):
        vfpn(detail=detail)(feats, feats)
