"""USSFC-Net and the plain Siamese U-Net: sizes, layers by formula, masks, and a step of training."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from hsonet_mm.baselines import SSFC, CMConv, MSDConvSSFC, UNetHead, USSFCNet
from hsonet_mm.errors import UserError
from hsonet_mm.model_size import build_untrained, macs, parameters

CONFIGS = Path(__file__).parents[2] / 'configs' / 'baselines'
SIZES = {
    'ussfc_net': (1_518_977, 3_090_153_472),  # as published: 1,518,977 parameters, 3.090 GMACs
    'ussfc_net_psconv': (1_518_977, 3_090_153_472),
    'unet_lite0': (6_248_657, 3_664_216_064),
    'unet_r18': (16_282_673, 8_837_398_528),
}
every_config = pytest.mark.parametrize('name', SIZES)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def build(name):
    """The detector of a config, without pre-trained weights."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.model.backbone.init_cfg = None
    init_default_scope('opencd')
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def batch(height, width, n=2):
    """Pairs with labels as the data loader gives them."""
    samples = []
    for _ in range(n):
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 2, (1, height, width))))
        sample.set_metainfo({'img_shape': (height, width), 'ori_shape': (height, width)})
        samples.append(sample)
    pairs = [torch.randint(0, 256, (6, height, width), dtype=torch.uint8) for _ in range(n)]
    return {'inputs': pairs, 'data_samples': samples}


def untrained(network):
    """Names of parameters without a gradient; that of a bias before a batch norm is zero but for rounding."""
    before_norm = ('.0.bias', '.3.bias')
    return [
        name
        for name, p in network.named_parameters()
        if p.grad is None or not (p.grad.any() or name.endswith(before_norm))
    ]


# --- whole networks


@every_config
def test_size(name):
    with torch.device('meta'):
        model = build_untrained(CONFIGS / f'{name}.py')
    assert (parameters(model), macs(model)) == SIZES[name]


@every_config
def test_two_steps_train_every_parameter(name):
    model = build(name).train()
    data = model.data_preprocessor(batch(64, 96), training=True)
    changed = torch.stack([sample.gt_sem_seg.data for sample in data['data_samples']]).float()
    start = model.decode_head.conv_seg.bias.detach().expand_as(changed)
    blind = F.binary_cross_entropy_with_logits(start, changed)  # of a network that knows nothing
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):  # two, for a ResNet starts with closed residual branches
        optimiser.zero_grad()
        log = model(**data, mode='loss')
        assert [key for key in log if 'acc' not in key] == ['decode.loss_ce']
        losses.append(log['decode.loss_ce'])
        losses[-1].backward()
        assert all(p.grad.isfinite().all() for p in model.parameters())
        optimiser.step()
    assert losses[0].item() == pytest.approx(blind.item(), abs=0.3)
    assert losses[1] < losses[0]
    assert untrained(model) == []


@every_config
@pytest.mark.parametrize(('height', 'width'), [(64, 96), (60, 90)])
def test_prediction_has_the_size_of_the_input(name, height, width):
    model = build(name).eval()
    data = batch(height, width, n=1)
    inputs = model.data_preprocessor(data, training=False)['inputs']
    assert inputs.shape == (1, 6, 64, 96)  # padded to multiples of 32
    assert model(inputs).shape == (1, 1, 64, 96)
    (result,) = model.test_step(data)
    assert result.pred_sem_seg.shape == result.seg_logits.shape[-2:] == (height, width)
    assert result.seg_logits.data.isfinite().all()


@pytest.mark.parametrize('name', ['ussfc_net', 'unet_lite0'])
def test_weights_move_to_a_new_network(name):
    model, other = build(name).eval(), build(name).eval()
    x = torch.randn(1, 6, 64, 64)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


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


# --- U-Net


def head(**kwargs):
    settings = {
        'in_channels': [4, 8, 12],
        'decoder_channels': (10, 6, 2),
        'dropout_ratio': 0.0,
        'num_classes': 2,
        'out_channels': 1,
        'threshold': 0.5,
        'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True},
    }
    return UNetHead(**{**settings, **kwargs}).eval()


def levels(height, width, channels=(4, 8, 12)):
    return [torch.randn(2, c, -(-height // 2**k), -(-width // 2**k)) for k, c in enumerate(channels)]


def test_unet_head_as_written():
    network, (fine, middle, coarse) = head(), levels(16, 24)

    def twice(block, x):
        for layer in block:
            x = F.conv2d(x, layer.conv.weight, padding=1) / (1 + 1e-5) ** 0.5
            x = x.clamp_min(0)
        return x

    def up(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    x = twice(network.blocks[0], torch.cat([up(coarse), middle], dim=1))
    x = twice(network.blocks[1], torch.cat([up(x), fine], dim=1))
    x = twice(network.blocks[2], up(x))
    logits = network([fine, middle, coarse])
    assert logits.shape == (2, 1, 32, 48)
    torch.testing.assert_close(logits, network.conv_seg(x))


@pytest.mark.parametrize(('blocks', 'size'), [((10, 6), (15, 23)), ((10, 6, 2), (30, 46))])
def test_unet_head_takes_odd_sizes_and_a_skip_for_every_block(blocks, size):
    network = head(decoder_channels=blocks)
    assert network(levels(15, 23)).shape == (2, 1, *size)
    assert network.channels == blocks[-1]


@pytest.mark.parametrize('name', ['unet_lite0', 'unet_r18'])
def test_unet_starts_from_the_prior_of_hsonet(name):
    unet = build(name).decode_head
    hsonet = MODELS.build(Config.fromfile(CONFIGS.parent / 'hsonet_lite_levir.py').model.decode_head)
    for network in (unet, hsonet):
        network.init_weights()
        assert network.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.6)
    assert unet.conv_seg.bias.item() == hsonet.conv_seg.bias.item() == pytest.approx(math.log(0.02 / 0.98))


def test_unet_head_refuses_fewer_blocks_than_skips():
    with pytest.raises(UserError, match=r'^invalid .*UNetHead: expected'):
        head(decoder_channels=(10,))
    with pytest.raises(UserError, match=r'^invalid .*UNetHead: expected'):
        head(in_channels=[4])


def test_unet_head_with_two_classes_keeps_the_accuracy():
    losses = head(out_channels=2, threshold=None, loss_decode={'type': 'mmseg.CrossEntropyLoss'}).loss(
        levels(16, 24), batch(32, 48)['data_samples'], None
    )
    assert set(losses) == {'loss_ce', 'acc_seg'}


@pytest.mark.parametrize('policy', ['abs_diff', 'sum'])
def test_unet_with_a_symmetric_neck_does_not_know_the_order_of_the_dates(policy):
    cfg = Config.fromfile(CONFIGS / 'unet_lite0.py')
    cfg.model.backbone.init_cfg = None
    cfg.model.neck.policy = policy
    cfg.model.decode_head.in_channels = [24, 40, 112, 320]
    init_default_scope('opencd')
    model = MODELS.build(cfg.model).eval()
    t1, t2 = torch.randn(2, 1, 3, 64, 96)
    logits = model(torch.cat([t1, t2], dim=1))
    assert logits.shape == (1, 1, 64, 96)
    torch.testing.assert_close(model(torch.cat([t2, t1], dim=1)), logits)


def test_unet_with_concatenated_dates_knows_it():
    model = build('unet_lite0').eval()
    t1, t2 = torch.randn(2, 1, 3, 64, 96)
    assert not torch.allclose(model(torch.cat([t1, t2], dim=1)), model(torch.cat([t2, t1], dim=1)))
