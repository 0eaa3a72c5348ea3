"""The head of HSONet: association, decoder, fusion of the dates and their detail."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from networks import DETAIL, SIZES, dates, detail_maps, encode, head, together
from torch import nn

from hsonet_mm.errors import UserError
from hsonet_mm.models import FSAssociationHead
from hsonet_mm.models.losses import EOLoss

# --- head


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('n', [1, 2])
@pytest.mark.parametrize(
    'settings', [{}, {'residual': True}, {'scale_aware': False}, {'scaled': False}, {'association': False}]
)
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
    assert head(association_channels=16).association.scale == 1 / 4
    assert head(scaled=False).association.scale == 1
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


def with_detail(**kwargs):
    return head(in_channels=[*DETAIL, 8, 8, 8, 8, 12], detail=3, **kwargs)


def detailed_dates(size=(64, 64), n=2):
    """What the head takes of one date, detail first."""
    return [*detail_maps(size, n), *dates(size, n)]


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


# --- detector


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
