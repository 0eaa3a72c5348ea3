"""The network of HSONet: V-FPN, association, decoder, head, and the detector around them."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.models.necks import FPN
from mmseg.structures import SegDataSample
from torch import nn

from hsonet_mm.errors import UserError
from hsonet_mm.models import VFPN, DetailBranch, FSAssociationHead, SiamEncoderDecoder
from hsonet_mm.models.layers import DetailDecoder, PyramidDecoder, SceneAssociation
from hsonet_mm.models.losses import EOLoss
from hsonet_mm.opencd import compat

STAGES = [8, 16, 32, 64]
SIZES = [(64, 64), (45, 71)]
BN = {'type': 'BN', 'requires_grad': True}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def pyramid(channels, size=(64, 64), n=2):
    """Random maps with strides 4, 8, 16, 32."""
    strides = (4, 8, 16, 32)
    return [
        torch.randn(n, c, *(math.ceil(side / s) for side in size))
        for c, s in zip(channels, strides, strict=True)
    ]


def vfpn(**kwargs):
    return VFPN(**{'in_channels': STAGES, 'out_channels': 12, **kwargs}).eval()


ONE_LOGIT = {
    'dropout_ratio': 0.0,
    'num_classes': 2,
    'out_channels': 1,
    'threshold': 0.5,
    'norm_cfg': BN,
    'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True},
}


def head(**kwargs):
    """A one-logit head: four levels of 8 channels and a scene of 12."""
    settings = {
        'in_channels': [8, 8, 8, 8, 12],
        'channels': 4,
        'association_channels': 6,
        **ONE_LOGIT,
    }
    return unlike_new(FSAssociationHead(**{**settings, **kwargs}))


def dates(size=(64, 64), n=2):
    """What the head takes of one date."""
    return [*pyramid([8] * 4, size, n), torch.randn(n, 12, 1, 1)]


def together(t1, t2):
    return tuple(torch.cat(pair, dim=1) for pair in zip(t1, t2, strict=True))


def unlike_new(network):
    """Batch norms as after a training, so that they and a slip in them show; evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


def encode(block, x):
    """ReLU(BN(conv(x))), written out."""
    x = F.conv2d(x, block.conv.weight, padding=block.conv.padding)
    mean, var = (v[None, :, None, None] for v in (block.bn.running_mean, block.bn.running_var))
    gamma, beta = (v[None, :, None, None] for v in (block.bn.weight, block.bn.bias))
    return ((x - mean) / (var + block.bn.eps).sqrt() * gamma + beta).clamp_min(0)


def without_gradient(network):
    return [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]


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


# --- association


def association(**kwargs):
    return unlike_new(SceneAssociation([8, 8, 8, 8], 12, 6, norm_cfg=BN, **kwargs))


@pytest.mark.parametrize('size', SIZES)
def test_association_as_written(size):
    module = association()
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


# --- decoder


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


# --- head


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('n', [1, 2])
@pytest.mark.parametrize('settings', [{}, {'residual': True}, {'scale_aware': False}, {'association': False}])
def test_head_shapes(size, n, settings):
    t1, t2 = dates(size, n), dates(size, n)
    logits = head(**settings)(together(t1, t2))
    assert logits.shape == (n, 1, *t1[0].shape[2:])
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ('fusion', 'fuse'),
    [
        ('abs_diff', lambda a, b: torch.maximum(a, b) - torch.minimum(a, b)),
        ('concat', lambda a, b: torch.cat([a, b], dim=1)),
        ('both', lambda a, b: torch.cat([torch.maximum(a, b) - torch.minimum(a, b), a + b], dim=1)),
    ],
)
def test_head_as_written(fusion, fuse):
    network, t1, t2 = head(fusion=fusion), dates(), dates()

    def decode(date):
        *levels, g = date
        return network.decoder(network.association(levels, g))

    q = fuse(decode(t1), decode(t2))
    expected = F.conv2d(q, network.conv_seg.weight, network.conv_seg.bias)
    torch.testing.assert_close(network(together(t1, t2)), expected)


def test_head_without_association():
    network, t1, t2 = head(association=False), dates(), dates()
    assert not any('association' in name for name in network.state_dict())
    q = (network.decoder(t1[:4]) - network.decoder(t2[:4])).abs()
    torch.testing.assert_close(network(together(t1, t2)), network.conv_seg(q))
    alone = head(association=False, in_channels=[8, 8, 8, 8])  # a neck without scene embedding
    alone.load_state_dict(network.state_dict())
    assert torch.equal(alone(together(t1[:4], t2[:4])), network(together(t1, t2)))


def test_head_hands_its_settings_on():
    assert len(head(scale_aware=False).association.scene_encoders) == 1
    assert len(head().association.scene_encoders) == 4
    assert head(residual=True).association.residual_projections is not None
    aligned, free = head(align_corners=True), head(align_corners=False)
    aligned.load_state_dict(free.state_dict())
    x = together(dates(), dates())
    assert not torch.allclose(aligned(x), free(x))


@pytest.mark.parametrize('fusion', ['abs_diff', 'both'])
def test_head_does_not_know_the_order_of_the_dates(fusion):
    network, t1, t2 = head(fusion=fusion), dates(), dates()
    assert torch.equal(network(together(t1, t2)), network(together(t2, t1)))


def test_head_with_concat_knows_it():
    network, t1, t2 = head(fusion='concat'), dates(), dates()
    assert not torch.allclose(network(together(t1, t2)), network(together(t2, t1)))


def test_head_finds_equal_dates_equal():
    network, t1 = head(), dates()
    assert (network(together(t1, t1)) == network.conv_seg.bias).all()


@pytest.mark.parametrize('prior', [None, 0.1])
def test_head_starts_from_the_prior(prior):
    network = head(**({} if prior is None else {'prior': prior}))
    nn.init.ones_(network.conv_seg.bias)
    network.init_weights()
    expected = 0.02 if prior is None else prior
    assert network.conv_seg.bias.item() == pytest.approx(math.log(expected / (1 - expected)))
    t1 = dates()
    assert torch.allclose(network(together(t1, t1)).sigmoid(), torch.tensor(expected))


def test_head_starts_almost_blind():
    network = head(channels=128)
    network.init_weights()
    assert network.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert network.decoder.levels[0][0].conv.weight.std() > 0.02  # the rest starts as convolutions do


def test_prior_does_not_tell_two_channels_apart():
    network = head(out_channels=2, threshold=None, loss_decode={'type': 'mmseg.CrossEntropyLoss'})
    network.init_weights()
    t1 = dates()
    assert torch.allclose(network(together(t1, t1)).softmax(dim=1), torch.tensor(0.5))


def test_head_batch_norm_sees_both_dates_as_one_batch():
    network = head().train()
    network(together(dates(), dates()))
    assert {int(m.num_batches_tracked) for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {1}


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        (
            {'fusion': 'product'},
            "^invalid fusion 'product' of .*Head: expected one of abs_diff, concat, both$",
        ),
        (
            {'fusion': 'diff'},
            "^invalid fusion 'diff' .*: expected one of abs_diff",
        ),  # without its sign once
        ({'in_channels': [8, 8, 8, 8]}, '4 pyramid levels and the scene embedding'),
        ({'in_channels': [8, 8, 8], 'association': False}, r'^invalid in_channels \[8, 8, 8\]: expected'),
        ({'detail': 2}, r'^invalid in_channels .*: expected 2 high-resolution maps, 4 pyramid levels'),
    ],
)
def test_head_refuses(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        head(**settings)


# --- detail


DETAIL = [6, 4, 10]


def with_detail(**kwargs):
    return head(in_channels=[*DETAIL, 8, 8, 8, 8, 12], detail=3, **kwargs)


def detail_maps(size=(64, 64), n=2):
    """What the branch of detail makes of one date."""
    return [
        torch.randn(n, c, *(math.ceil(side / 2 ** (k + 1)) for side in size)) for k, c in enumerate(DETAIL)
    ]


def detailed_dates(size=(64, 64), n=2):
    """What the head takes of one date, detail first."""
    return [*detail_maps(size, n), *dates(size, n)]


@pytest.mark.parametrize('size', SIZES)
def test_detail_branch_halves_again_and_again(size):
    branch = unlike_new(DetailBranch(channels=DETAIL))
    maps = branch(torch.randn(2, 3, *size))
    assert [x.shape for x in maps] == [x.shape for x in detail_maps(size)]


def test_detail_branch_sees_four_pixels_around_at_its_finest():
    branch = unlike_new(DetailBranch(channels=DETAIL))
    x = torch.randn(2, 3, 64, 64)
    other = x.clone()
    other[..., 20, 20] += 9
    rows, columns = (branch(other)[0] != branch(x)[0]).any(dim=1)[0].nonzero().T
    # pixel 20 by those before and at the stride to 9..11, by the one behind it 1 further: 16 to 24
    assert {*rows.tolist()} == {*columns.tolist()} == {8, 9, 10, 11, 12}


def test_detail_branch_refuses_odd_channels():
    with pytest.raises(ValueError, match=r'^invalid channels .7, .*: expected an even number'):
        DetailBranch(channels=[7, 8])


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


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('fusion', ['abs_diff', 'concat', 'both'])
def test_detail_refines_the_fused_dates(fusion, size):
    network = with_detail(fusion=fusion)
    t1, t2 = detailed_dates(size), detailed_dates(size)

    def decode(date):
        *levels, g = date[3:]
        return network.decoder(network.association(levels, g))

    def up(x, like):
        return F.interpolate(x, like.shape[2:], mode='bilinear')

    context = network.fuse(decode(t1), decode(t2))
    d2, d4, d8 = (network.fuse(*pair) for pair in zip(t1[:3], t2[:3], strict=True))
    eighth, quarter = network.refinement.coarser
    x = encode(eighth, d8)
    x = encode(quarter, torch.cat([d4, up(x, d4)], dim=1))
    x = torch.cat([d2, up(x, d2), up(context, d2)], dim=1)
    for block in network.refinement.finest:
        x = encode(block, x)
    logits = network(together(t1, t2))
    assert logits.shape == (2, 1, *t1[0].shape[2:])
    torch.testing.assert_close(logits, network.conv_seg(x), rtol=1e-4, atol=1e-5)


def test_one_map_of_detail_is_enough():
    network = head(in_channels=[6, 8, 8, 8, 8, 12], detail=1)
    t1, t2 = ([detail_maps()[0], *dates()] for _ in range(2))
    assert network(together(t1, t2)).shape == (2, 1, 32, 32)


def test_detail_leaves_the_promises_of_the_head():
    network, t1, t2 = with_detail(), detailed_dates((256, 256)), detailed_dates((256, 256))
    assert torch.equal(network(together(t1, t2)), network(together(t2, t1)))
    inner = network(together(t1, t1))[..., 24:-24, 24:-24]  # the frame feels the padding of the convolutions
    torch.testing.assert_close(inner, inner[:1, :, :1, :1].expand_as(inner))
    network.init_weights()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    assert torch.allclose(network(together(t1, t1)).sigmoid(), torch.tensor(0.02))


def test_detail_without_association():
    network = with_detail(association=False)
    t1, t2 = detailed_dates(), detailed_dates()
    network(together(t1, t2))
    no_scene = head(association=False, detail=3, in_channels=[*DETAIL, 8, 8, 8, 8])
    assert no_scene(together(t1[:-1], t2[:-1])).shape == (2, 1, 32, 32)


def test_head_needs_both_dates():
    sentence = r'2 x 8 channels in input 0, not 8: correct its in_channels, or .* VFPN\(policy=.concat.\)'
    with pytest.raises(UserError, match=sentence):
        head()(tuple(dates()))


def test_head_needs_all_its_inputs():
    """As after a neck without scene embedding, or one that knows nothing of detail."""
    sentence = 'FSAssociationHead needs inputs 0 to 4, not 4 inputs: correct its in_index and in_channels'
    with pytest.raises(UserError, match=sentence):
        head()(together(dates()[:-1], dates()[:-1]))


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


@pytest.mark.parametrize('prior', [0.0, 1.0, -0.1])
def test_prior_is_a_share(prior):
    with pytest.raises(UserError, match=f'^invalid prior {prior}: expected'):
        head(prior=prior)


# --- losses of the head


def samples(n=2, size=64, classes=2):
    made = []
    for _ in range(n):
        sample = SegDataSample(metainfo={'img_shape': (size, size), 'ori_shape': (size, size)})
        sample.gt_sem_seg = PixelData(data=torch.randint(0, classes, (1, size, size)))
        made.append(sample)
    return made


def test_losses_of_one_name_add_up():
    once = {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True, 'loss_name': 'loss_ce'}
    thrice = {**once, 'loss_weight': 2.0}
    other = {**once, 'loss_name': 'loss_other'}
    logits, batch = torch.randn(2, 1, 16, 16), samples()
    expected = head(loss_decode=once).loss_by_feat(logits, batch)['loss_ce']
    losses = head(loss_decode=[once, thrice, other]).loss_by_feat(logits, batch)
    assert losses.keys() == {'loss_ce', 'loss_other'}
    torch.testing.assert_close(losses['loss_ce'], 3 * expected)
    torch.testing.assert_close(losses['loss_other'], expected)


def test_accuracy_is_logged_where_it_means_something():
    batch = samples()
    assert head().loss_by_feat(torch.randn(2, 1, 16, 16), batch).keys() == {'loss_ce'}
    two = head(out_channels=2, threshold=None, loss_decode={'type': 'mmseg.CrossEntropyLoss'})
    assert two.loss_by_feat(torch.randn(2, 2, 16, 16), batch).keys() == {'loss_ce', 'acc_seg'}


# --- detector


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


@pytest.mark.parametrize('scope', ['mmseg', 'opencd'])
def test_head_trains_with_eo_loss_unless_told_otherwise(scope):
    init_default_scope(scope)
    network = FSAssociationHead([8, 8, 8, 8, 12], channels=4, num_classes=2, out_channels=1, threshold=0.5)
    pred, target = torch.randn(1, 1, 8, 8, requires_grad=True), torch.randint(0, 2, (1, 8, 8))
    losses = (loss(pred, target, progress=0.7, ignore_index=255) for loss in (network.loss_decode, EOLoss()))
    ours, expected = (
        torch.autograd.grad(loss, pred)[0] for loss in losses
    )  # the value alone is cross entropy's
    torch.testing.assert_close(ours, expected)
