"""USSFC-Net: dates and levels, layers by formula, and masks."""

import pytest
import torch
import torch.nn.functional as F
from own_baselines import build
from torch import nn

from hsonet_mm.baselines import SSFC, CMConv, MSDConvSSFC, USSFCNet
from hsonet_mm.errors import UserError


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# --- whole networks


def test_inputs_lie_between_minus_one_and_one():
    pair = torch.tensor([0, 51, 255] * 2).view(6, 1, 1).expand(6, 32, 32)
    data = build('ussfc_net').data_preprocessor({'inputs': [pair], 'data_samples': []})
    expected = torch.tensor([1, -0.6, -1] * 2)  # blue, green, red to red, green, blue
    torch.testing.assert_close(data['inputs'][0, :, 0, 0], expected)


# --- USSFC-Net


def ussfc(**kwargs):
    return USSFCNet(**{'base_channels': 8, **kwargs}).eval()


def test_dates_have_encoders_of_their_own():
    network, (t1, t2) = ussfc(), torch.randn(2, 1, 3, 32, 48)
    (one,), (other,) = network(t1, t2), network(t2, t1)
    assert one.shape == (1, 8, 32, 48)
    assert not torch.allclose(one, other)
    network.encoder_t2.load_state_dict(network.encoder_t1.state_dict())
    assert torch.equal(network(t1, t2)[0], network(t2, t1)[0])
    same = network(t1, t1)[0]
    assert torch.equal(same, network(t2, t2)[0])  # nothing but distances reaches the decoder
    assert not torch.allclose(same, network(t1, t2)[0])


def test_every_level_reaches_the_decoder():
    network, x = ussfc(), torch.randn(1, 3, 32, 32)
    network.encoder_t2.load_state_dict(network.encoder_t1.state_dict())
    (same,) = network(x, x)
    shapes = []
    for level, block in enumerate(network.encoder_t2):
        block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
        for later in network.encoder_t2[level:]:  # only what is coarser changes
            later[-2].bias.data += 1
        assert not torch.allclose(network(x, x)[0], same)
        for later in network.encoder_t2[level:]:
            later[-2].bias.data -= 1
    assert shapes[-5:] == [(1, 8 << k, 32 >> k, 32 >> k) for k in range(5)]


@pytest.mark.parametrize('size', [(60, 96), (64, 90)])
def test_sizes_that_do_not_halve_are_refused(size):
    x = torch.randn(1, 3, *size)
    with pytest.raises(
        UserError, match=f'^invalid input of {size[0]} x {size[1]} pixels .*multiples of 16, .*--crop'
    ):
        ussfc()(x, x)


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'mask': 'none'}, "^invalid mask 'none' of USSFCNet: expected one of published, psconv$"),
        ({'base_channels': 12}, '^invalid base_channels 12 of USSFCNet: expected'),
    ],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        ussfc(**settings)


def test_cmconv_needs_groups_of_four():
    with pytest.raises(UserError, match=r'^invalid channels 10 of CMConv: expected'):
        CMConv(10)


# --- its layers


def test_ssfc_pixel_by_pixel():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64) * 3 + 1
    out = SSFC()(x)
    for n in range(2):
        for c in range(3):
            values = x[n, c].flatten().tolist()
            mean = sum(values) / 20
            variance = sum((v - mean) ** 2 for v in values) / 20
            for v, y in zip(values, out[n, c].flatten().tolist(), strict=True):
                exponent = (v - mean) ** 2 / (2 * variance + 2**-23) + 0.5
                assert y == pytest.approx(v / (1 + 2.718281828459045**-exponent), rel=1e-9)


def test_ssfc_of_a_constant_channel():
    out = SSFC()(torch.full((1, 1, 3, 3), 2.0))
    torch.testing.assert_close(out, 2 * torch.tensor(0.5).sigmoid().expand(1, 1, 3, 3))


def silent(channels, **kwargs):
    """A CMConv whose weights are all zero."""
    layer = CMConv(channels, **kwargs)
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


def test_cmconv_swaps_the_halves_of_each_group_for_the_far_scale():
    layer = silent(8)
    layer.far.weight.data[:, :, 1, 1] = torch.arange(1.0, 9).view(8, 1)  # output o is (o + 1) times its input
    x = torch.tensor([10.0, 11, 12, 13, 14, 15, 16, 17]).view(1, 8, 1, 1)
    expected = [1 * 12, 2 * 13, 3 * 10, 4 * 11, 5 * 16, 6 * 17, 7 * 14, 8 * 15]
    assert layer(x).flatten().tolist() == expected
    layer.far.weight.data.zero_()
    layer.middle.weight.data[:, :, 1, 1] = 1
    assert torch.equal(layer(x), x)  # not for the middle one


@pytest.mark.parametrize(('scale', 'reach'), [('near', 1), ('middle', 3), ('far', 6)])
def test_cmconv_reaches_as_far_as_its_dilation(scale, reach):
    layer = silent(4)
    nn.init.ones_(getattr(layer, scale).weight)
    x = torch.zeros(1, 4, 15, 15)
    x[:, :, 7, 7] = 1
    rows = layer(x).sum(dim=(0, 1, 3)).nonzero().flatten().tolist()
    assert rows == [7 - reach, 7, 7 + reach]


def test_cmconv_is_the_sum_of_its_scales():
    layer, x = CMConv(16, mask='psconv'), torch.randn(2, 16, 20, 20)
    dense = torch.zeros(16, 16, 3, 3)
    for o in range(16):
        for place in range(4):
            if (o - place) % 4 in (1, 3):
                dense[o, o // 4 * 4 + place] = layer.near.weight[o, place]
    opposite = [o // 4 * 4 + (o + 2) % 4 for o in range(16)]
    expected = F.conv2d(x, dense, padding=1)
    expected += F.conv2d(x, layer.middle.weight, padding=3, dilation=3, groups=16)
    expected += F.conv2d(x[:, opposite], layer.far.weight, padding=6, dilation=6, groups=16)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(('name', 'masked'), [('ussfc_net', 6_912), ('ussfc_net_psconv', 43_200)])
def test_as_many_weights_are_masked_as_published_or_meant(name, masked):
    layers = [layer for layer in build(name).modules() if isinstance(layer, CMConv)]
    assert len(layers) == 24
    assert sum(9 * int((layer.keep == 0).sum()) for layer in layers) == masked


def test_which_weights_are_masked():
    cycle = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0]] * 2)  # output by input place: the neighbours stay
    for channels in (4, 16, 32, 64):
        groups = channels // 4
        meant, published = (CMConv(channels, mask=mask).keep[:, :, 0, 0] for mask in ('psconv', 'published'))
        assert all(torch.equal(group, cycle.float()) for group in meant.split(4))
        masked = {g for g, group in enumerate(published.split(4)) if not group.all()}
        assert masked == {k * groups // 4 for k in range(4)} & set(range(groups))
        assert all(torch.equal(published[4 * g : 4 * g + 4], cycle.float()) for g in masked)


@pytest.mark.parametrize('mask', ['published', 'psconv'])
def test_masked_weights_have_no_effect(mask):
    layer, x = CMConv(32, mask=mask), torch.randn(1, 32, 8, 8)
    out = layer(x)
    out.square().sum().backward()
    kept = layer.keep.expand_as(layer.near.weight).bool()
    assert layer.near.weight.grad[kept].all()
    assert not layer.near.weight.grad[~kept].any()
    layer.near.weight.data[~kept] += 9
    assert torch.equal(layer(x), out)
    layer.near.weight.data[kept] += 9
    assert not torch.allclose(layer(x), out)
    assert 'keep' not in layer.state_dict()


def test_msdconv_makes_the_second_half_from_the_first():
    layer, x = MSDConvSSFC(6, 32).eval(), torch.randn(2, 6, 10, 10)
    native, auxiliary = layer(x).chunk(2, dim=1)
    weight = layer.native[0].weight
    torch.testing.assert_close(native, (F.conv2d(x, weight) / (1 + 1e-5) ** 0.5).clamp_min(0))
    features = (layer.auxiliary[0](native) / (1 + 1e-5) ** 0.5).clamp_min(0)
    torch.testing.assert_close(auxiliary, SSFC()(features))
