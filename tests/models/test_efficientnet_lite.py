"""EfficientNet-Lite: the published networks, SAME padding, and what does not train."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hsonet_mm.models.backbones import EfficientNetLite
from hsonet_mm.models.backbones.efficientnet_lite import SameConv2d

# --- both networks


@pytest.mark.parametrize('variant', [0, 1, 2])
def test_stochastic_depth_grows_linearly_to_its_rate(variant):
    blocks = EfficientNetLite(variant, drop_path_rate=0.3).blocks
    rates = [0.3 * number / (len(blocks) - 1) for number in range(len(blocks))]
    for number, (block, rate) in enumerate(zip(blocks, rates, strict=True)):
        drops = block.has_shortcut and number > 0
        assert getattr(block.drop_path, 'drop_prob', 0.0) == pytest.approx(rate if drops else 0.0)
    assert not blocks[-1].has_shortcut


# --- EfficientNet-Lite


# Parameters of the published networks with their classifiers: 1x1 convolution to 1280, norm, 1000 classes.
PUBLISHED_LITE = {0: 4_652_008, 1: 5_416_680, 2: 6_092_072}


@pytest.mark.parametrize('variant', PUBLISHED_LITE)
def test_lite_parameters(variant):
    backbone = EfficientNetLite(variant)
    classifier = backbone.out_channels[-1] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(p.numel() for p in backbone.parameters()) == PUBLISHED_LITE[variant] - classifier


def test_lite_is_lite():
    backbone = EfficientNetLite(2)
    assert backbone.conv_stem.out_channels == 32  # not scaled
    assert len(backbone.blocks) == 1 + 3 + 3 + 4 + 4 + 5 + 1  # first and last stage not scaled
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}


@pytest.mark.parametrize(
    ('stride', 'height', 'width'), [(2, 8, 8), (2, 7, 8), (2, 9, 5), (1, 8, 7), (2, 2, 1)]
)
@pytest.mark.parametrize('kernel', [3, 5])
@pytest.mark.parametrize('training', [False, True])
def test_same_padding(kernel, training, stride, height, width):
    conv = SameConv2d(4, 4, kernel, stride, groups=2)
    x = torch.randn(2, 4, height, width, requires_grad=training)
    padding = []  # by TensorFlow's definition, width first
    for n in (width, height):
        total = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
        padding += [total // 2, total - total // 2]
    expected = F.conv2d(F.pad(x, padding), conv.weight, stride=stride, groups=2)
    found = conv(x)
    torch.testing.assert_close(found, expected)
    if training:
        weights = [*conv.parameters(), x]
        ours, theirs = (torch.autograd.grad(y.square().sum(), weights) for y in (found, expected))
        torch.testing.assert_close(ours, theirs)


def test_same_padding_by_hand():
    conv = SameConv2d(1, 1, 3, stride=2)
    nn.init.ones_(conv.weight)
    # 4 columns: padded by one column on the right only, hence the windows 0..2 and 2..4
    assert conv(torch.arange(4.0).expand(1, 1, 4, 4)).flatten().tolist() == [9.0, 15.0, 6.0, 10.0]
    # 3 columns: padded by one on both sides, hence the windows -1..1 and 1..3
    assert conv(torch.arange(3.0).expand(1, 1, 3, 3)).flatten().tolist() == [2.0, 6.0, 2.0, 6.0]


def test_lite_norm_eval_of_synchronised_norms():
    backbone = torch.nn.SyncBatchNorm.convert_sync_batchnorm(EfficientNetLite(norm_eval=True)).train()
    assert not backbone.bn0.training


def test_lite_norm_eval():
    backbone = EfficientNetLite(norm_eval=True).train()
    before = backbone.bn0.running_mean.clone()
    backbone(torch.randn(2, 3, 32, 32))
    assert torch.equal(backbone.bn0.running_mean, before)
    assert backbone.training
    assert all(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize(('frozen_stages', 'blocks'), [(-1, None), (0, 0), (1, 3), (4, 16)])
def test_lite_frozen_stages(frozen_stages, blocks):
    backbone = EfficientNetLite(frozen_stages=frozen_stages).train()
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    levels = backbone(torch.randn(2, 3, 64, 64))
    frozen = () if blocks is None else ('conv_stem.', 'bn0.', *(f'blocks.{i}.' for i in range(blocks)))
    assert {name for name, p in backbone.named_parameters() if not p.requires_grad} == {
        name for name, _ in backbone.named_parameters() if name.startswith(frozen)
    }
    assert [level.requires_grad for level in levels] == [i >= frozen_stages for i in range(4)]
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, state[name])}
    assert changed == {
        name for name in state if 'running' in name or 'tracked' in name if not name.startswith(frozen)
    }


@pytest.mark.parametrize(
    ('kernel', 'height', 'width'), [(3, 8, 8), (5, 8, 7), (5, 9, 12), (3, 1, 2), (5, 1, 1)]
)
def test_same_padding_of_the_exported_kernel(monkeypatch, kernel, height, width):
    """The form for exports, with a constant kernel, is the same convolution."""
    torch.manual_seed(0)
    conv = SameConv2d(4, 4, kernel, stride=2, groups=4)
    x = torch.randn(2, 4, height, width)
    expected = conv(x)
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    torch.testing.assert_close(conv(x), expected)
