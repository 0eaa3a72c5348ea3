"""The plain Siamese U-Net: its head by formula, sizes, prior, and the order of the dates."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from own_baselines import CONFIGS, batch, build

from hsonet_mm.baselines import UNetHead
from hsonet_mm.errors import UserError


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


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
