"""What the backbones EfficientNet-Lite and PVTv2 have in common."""

import math
from functools import partial

import pytest
import torch

from hsonet_mm.errors import UserError
from hsonet_mm.models.backbones import EfficientNetLite, PVTv2
from hsonet_mm.registry import MODELS

BACKBONES = {
    'lite0': (partial(EfficientNetLite, 0), (24, 40, 112, 320)),
    'lite1': (partial(EfficientNetLite, '1'), (24, 40, 112, 320)),
    'lite2': (partial(EfficientNetLite, 2), (24, 48, 120, 352)),
    'pvt-b0': (partial(PVTv2, 'b0'), (32, 64, 160, 256)),
    'pvt-b1': (partial(PVTv2, 'b1'), (64, 128, 320, 512)),
    'pvt-b2': (partial(PVTv2, 'b2'), (64, 128, 320, 512)),
}
SMALL = [BACKBONES['lite0'][0], BACKBONES['pvt-b0'][0]]


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('size', [(64, 64), (45, 71)])
def test_levels(name, size):
    build, channels = BACKBONES[name]
    backbone = build().eval()
    with torch.no_grad():
        levels = backbone(torch.randn(1, 3, *size))
    expected = [
        (1, c, *(math.ceil(n / s) for n in size)) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    assert [level.shape for level in levels] == expected
    assert backbone.out_channels == channels
    assert all(level.isfinite().all() for level in levels)


@pytest.mark.parametrize('build', SMALL)
def test_every_parameter_gets_a_gradient(build):
    backbone = build(drop_path_rate=0.0)
    sum(level.square().mean() for level in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('build', SMALL)
def test_is_deterministic_in_eval_and_survives_a_round_trip(build):
    x = torch.randn(2, 3, 64, 64)
    backbone = build(drop_path_rate=0.5)
    with torch.no_grad():
        assert not torch.equal(backbone(x)[-1], backbone(x)[-1])  # stochastic depth in training
        backbone.eval()
        levels = backbone(x)
        assert all(map(torch.equal, levels, backbone(x)))
        other = build().eval()
        other.load_state_dict(backbone.state_dict())
        assert all(map(torch.equal, levels, other(x)))
        # in eval no image sees the other: a batch of one gives the same
        for whole, one in zip(levels, backbone(x[1:]), strict=True):
            torch.testing.assert_close(whole[1:], one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('build', SMALL)
def test_out_indices_choose_levels(build):
    backbone = build(out_indices=(1, 3)).eval()
    x = torch.randn(1, 3, 64, 64)
    chosen = backbone(x)
    assert backbone.out_channels == tuple(level.shape[1] for level in chosen)
    assert [level.shape[-1] for level in chosen] == [8, 2]


@pytest.mark.parametrize('build', SMALL)
def test_what_no_level_needs_is_not_trained(build):
    """Distributed training stops at a parameter that asks for a gradient and gets none."""
    whole, backbone = build().eval(), build(out_indices=(0, 2)).eval()
    backbone.load_state_dict(whole.state_dict())
    x = torch.randn(1, 3, 64, 64)
    levels = backbone(x)
    for level, expected in zip(levels, whole(x)[:3:2], strict=True):
        torch.testing.assert_close(level, expected)
    sum(level.square().sum() for level in levels).backward()
    asking = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert asking == {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert len(asking) < len(list(backbone.parameters()))


@pytest.mark.parametrize('build', SMALL)
def test_random_weights_keep_the_signal(build):
    torch.manual_seed(0)
    backbone = build(drop_path_rate=0.0).train()
    with torch.no_grad():
        levels = backbone(torch.randn(4, 3, 64, 64))
    assert all(0.1 < level.std() < 10 for level in levels)


@pytest.mark.parametrize(
    ('cls', 'kwargs', 'says'),
    [
        (EfficientNetLite, {'variant': 5}, 'invalid variant 5 '),
        (EfficientNetLite, {'out_indices': (4,)}, r'^invalid out_indices \(4,\) of'),
        (EfficientNetLite, {'frozen_stages': 5}, '^invalid frozen_stages 5 of'),
        (PVTv2, {'variant': 'b9'}, "invalid variant 'b9' "),
        (PVTv2, {'out_indices': ()}, r'^invalid out_indices \(\) of'),
    ],
)
def test_wrong_arguments(cls, kwargs, says):
    with pytest.raises(UserError, match=says):
        cls(**kwargs)


def test_are_registered():
    assert MODELS.get('hsonet_mm.EfficientNetLite') is EfficientNetLite
    assert MODELS.get('hsonet_mm.PVTv2') is PVTv2
