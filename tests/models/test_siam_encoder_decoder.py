"""The Siamese detector: both dates through the network, its detail, and the order in memory."""

import copy
import math

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from networks import BN, ONE_LOGIT, SIZES, STAGES, encode, samples, unlike_new, without_gradient
from torch import nn

from hsonet_mm.errors import UserError
from hsonet_mm.export.graph import PairToProbs, trace
from hsonet_mm.models import SiamEncoderDecoder
from hsonet_mm.opencd import compat


def test_without_a_gpu_weights_and_maps_are_in_channels_last_order(build):
    fast, plain = build('cpu'), build('cuda')
    kernels = [p for p in fast.parameters() if p.ndim == 4 and min(p.shape) > 1]
    assert kernels
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    assert all(p.is_contiguous() for p in plain.parameters())
    images = torch.randn(1, 6, 64, 96)
    with torch.no_grad():
        logits = fast(images)
        torch.testing.assert_close(logits, plain(images), rtol=1e-4, atol=1e-5)
        levels = fast.extract_feat(images)[:-1]  # the last one is the scene, one pixel
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x in levels)


def test_checkpoints_are_those_of_either_order(build, tmp_path):
    fast, plain = build('cpu'), build('cuda')
    torch.save(fast.state_dict(), tmp_path / 'fast.pth')
    for weight in plain.parameters():
        weight.data.zero_()
    plain.load_state_dict(torch.load(tmp_path / 'fast.pth', weights_only=True))
    assert all(torch.equal(p, q) for p, q in zip(fast.parameters(), plain.parameters(), strict=True))
    assert all(p.is_contiguous() for p in plain.parameters())


def test_exported_weights_are_in_the_default_order(build):
    network = build('cpu')
    program = trace(PairToProbs(network, 1.0).eval(), 64)
    assert all(weight.is_contiguous() for weight in program.state_dict.values())


def settings(**kwargs):
    return {
        'backbone': {
            'type': 'mmseg.ResNet',
            'depth': 18,
            'base_channels': 8,
            'stem_channels': 8,
            'norm_cfg': BN,
        },
        'neck': {'type': 'hsonet_mm.VFPN', 'in_channels': STAGES, 'out_channels': 8},
        'decode_head': {
            'type': 'hsonet_mm.FSAssociationHead',
            'in_channels': [8, 8, 8, 8, 64],
            'channels': 8,
            'association_channels': 24,
            **ONE_LOGIT,
        },
        'test_cfg': ConfigDict(mode='whole'),
        **kwargs,
    }


@pytest.fixture
def detector():
    """A function that builds a tiny HSONet."""
    init_default_scope('opencd')
    return lambda **kwargs: unlike_new(SiamEncoderDecoder(**copy.deepcopy(settings(**kwargs))))


def detailed(**kwargs):
    """What makes the tiny HSONet keep detail."""
    tiny = settings()
    return {
        'detail': {'type': 'hsonet_mm.DetailBranch', 'channels': [6, 4]},
        'neck': {**tiny['neck'], 'detail': 2},
        'decode_head': {**tiny['decode_head'], 'in_channels': [6, 4, 8, 8, 8, 8, 64], 'detail': 2},
        **kwargs,
    }


def told_once(*channels):
    """The same network, with `detail` in one place."""
    tiny = settings()
    return {
        'detail': {'type': 'hsonet_mm.DetailBranch', 'channels': [6, 4]},
        'decode_head': {**tiny['decode_head'], 'in_channels': [*channels, 8, 8, 8, 8, 64]},
    }


def test_neck_and_head_know_of_detail_that_is_told_once(detector):
    once, thrice = detector(**told_once(6, 4)), detector(**detailed())
    assert (once.neck.detail, once.decode_head.detail) == (2, 2)
    once.load_state_dict(thrice.state_dict())
    x = torch.randn(2, 6, 64, 64)
    with torch.no_grad():
        assert torch.equal(once(x), thrice(x))


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({**detailed(), 'detail': None}, 'neck.detail is 2, but model.detail gives 0 maps: leave model.neck'),
        (
            told_once(6),
            r'with \[6\] channels, but model.detail gives \[6, 4\]: name them in model.decode_head.in_ch',
        ),
        (told_once(6, 8), r'with \[6, 8\] channels, but model.detail gives \[6, 4\]'),
        ({'detail': told_once()['detail']}, r'with no channels, but model.detail gives \[6, 4\]'),
        ({**told_once(6, 4), 'detail': None}, r'with \[6, 4\] channels, but model.detail gives none'),
    ],
)
def test_detail_that_does_not_agree_is_refused_when_it_is_built(detector, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        detector(**changes)


def test_pyramid_takes_norm_and_activation(detector):
    neck = {**settings()['neck'], 'norm_cfg': BN, 'act_cfg': {'type': 'ReLU'}, 'batch_dates': True}
    model, x = detector(neck=neck), torch.randn(2, 6, 64, 64)
    date = model.backbone(x[:, :3])[3]
    lateral, output = model.neck.lateral_convs[3], model.neck.fpn_convs[3]
    expected = encode(output, encode(lateral, date))  # the coarsest level has no other above it
    torch.testing.assert_close(model.extract_feat(x)[3][:, :8], expected)
    model.train().loss(x, samples())
    assert {int(m.num_batches_tracked) for m in model.neck.modules() if hasattr(m, 'running_mean')} == {1}


@pytest.mark.parametrize('batch_dates', [True, False])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('n', [1, 3])
@pytest.mark.parametrize(('changes', 'stride'), [({}, 4), (detailed(), 2)])
def test_detector_shapes(detector, batch_dates, size, n, changes, stride):
    model = detector(batch_dates=batch_dates, **changes)
    with torch.no_grad():
        logits = model(torch.randn(n, 6, *size))
        assert logits.shape == (n, 1, *(math.ceil(side / stride) for side in size))
        results = model.predict(torch.randn(n, 6, *size))
    assert [result.seg_logits.data.shape for result in results] == n * [(1, *size)]
    assert all(result.pred_sem_seg.data.unique().tolist() in ([0], [1], [0, 1]) for result in results)


@pytest.mark.parametrize('changes', [{}, detailed()])
def test_dates_as_one_batch_are_the_same_in_evaluation(detector, changes):
    one, two = detector(batch_dates=True, **changes), detector(batch_dates=False, **changes)
    one.load_state_dict(two.state_dict())
    x = torch.randn(3, 6, 64, 64)
    with torch.no_grad():
        for a, b in zip(one.extract_feat(x), two.extract_feat(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one(x), two(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('batch_dates', [True, False])
def test_batch_norm_of_the_backbone_in_training(detector, batch_dates):
    model = detector(batch_dates=batch_dates).train()
    bn = model.backbone.bn1
    nn.init.zeros_(bn.running_mean)
    x = torch.randn(2, 6, 64, 64)
    x[:, 3:] += 2  # a colour shift between the dates
    t1, t2 = (model.backbone.conv1(date).transpose(0, 1).flatten(1) for date in (x[:, :3], x[:, 3:]))
    model(x)
    if batch_dates:  # one estimate, over both dates
        expected = bn.momentum * torch.cat([t1, t2], dim=1).mean(dim=1)
    else:  # one after the other
        expected = bn.momentum * ((1 - bn.momentum) * t1.mean(dim=1) + t2.mean(dim=1))
    torch.testing.assert_close(bn.running_mean, expected)
    assert int(bn.num_batches_tracked) == (1 if batch_dates else 2)


@pytest.mark.parametrize('batch_dates', [True, False])
def test_detector_does_not_know_the_order_of_the_dates(detector, batch_dates):
    model, x = detector(batch_dates=batch_dates), torch.randn(2, 6, 64, 64)
    with torch.no_grad():
        forward, backward = model(x), model(x[:, [3, 4, 5, 0, 1, 2]])
        same = model(x[:, [0, 1, 2, 0, 1, 2]])
    assert torch.equal(forward, backward)
    assert (same == model.decode_head.conv_seg.bias).all()


@pytest.mark.parametrize(
    'changes', [{}, {'fusion': 'both'}, {'fusion': 'concat', 'residual': True}, {'association': False}]
)
@pytest.mark.parametrize('n', [1, 2])
@pytest.mark.parametrize('base', [settings(), detailed()])
def test_every_parameter_gets_a_gradient(detector, base, changes, n):
    model = detector(**{**base, 'decode_head': {**base['decode_head'], **changes}}).train()
    losses = model.loss(torch.randn(n, 6, 64, 64), samples(n))
    losses['decode.loss_ce'].backward()
    assert without_gradient(model) == []


@pytest.mark.parametrize('batch_dates', [True, False])
def test_detector_is_deterministic_and_survives_a_round_trip(detector, batch_dates, tmp_path):
    model, other = detector(batch_dates=batch_dates), detector(batch_dates=batch_dates)
    x = torch.randn(2, 6, 64, 64)
    with torch.no_grad():
        logits = model(x)
        assert torch.equal(model(x), logits)
        assert not torch.allclose(other(x), logits)
        torch.save(model.state_dict(), tmp_path / 'model.pth')
        other.load_state_dict(torch.load(tmp_path / 'model.pth', weights_only=True))
        assert torch.equal(other(x), logits)
        # in evaluation no pair sees another
        torch.testing.assert_close(model(x[1:]), logits[1:], rtol=1e-4, atol=1e-5)


def test_detector_has_the_weights_of_its_host(detector):
    if compat.OPENCD_AVAILABLE:
        from opencd.models import SiamEncoderDecoder as Host
    else:
        from hsonet_mm.opencd.detectors import SiamEncoderDecoder as Host
    model, host = detector(batch_dates=False), Host(**settings()).eval()
    host.load_state_dict(model.state_dict())
    x = torch.randn(2, 6, 64, 64)
    with torch.no_grad():
        assert torch.equal(host(x), model(x))
