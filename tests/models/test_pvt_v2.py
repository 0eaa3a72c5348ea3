"""PVTv2: the published networks, attention, and sizes."""

import math

import pytest
import torch

from hsonet_mm.errors import UserError
from hsonet_mm.models.backbones import PVTv2
from hsonet_mm.models.backbones.pvt_v2 import SpatialReductionAttention

# The parameters of the published networks with their classifiers, 1000 classes.
PUBLISHED_PVT = {'b0': 3_666_760, 'b1': 14_009_000, 'b2': 25_362_856}


@pytest.mark.parametrize('variant', PUBLISHED_PVT)
def test_pvt_parameters(variant):
    backbone = PVTv2(variant)
    classifier = backbone.out_channels[-1] * 1000 + 1000
    assert sum(p.numel() for p in backbone.parameters()) == PUBLISHED_PVT[variant] - classifier


def test_pvt_names_are_the_published_ones():
    shapes = {name: tuple(value.shape) for name, value in PVTv2('b0').state_dict().items()}
    assert shapes['patch_embed1.proj.weight'] == (32, 3, 7, 7)
    assert shapes['patch_embed4.norm.bias'] == (256,)
    assert shapes['block1.0.attn.sr.weight'] == (32, 32, 8, 8)
    assert shapes['block1.0.attn.kv.weight'] == (64, 32)
    assert shapes['block3.1.mlp.dwconv.dwconv.weight'] == (640, 1, 3, 3)
    assert 'block4.0.attn.sr.weight' not in shapes
    last = {'norm1', 'norm2', 'q', 'kv', 'proj', 'sr', 'norm', 'fc1', 'dwconv', 'fc2'}
    assert {name.split('.')[-2] for name in shapes if name.startswith('block1.0')} == last
    assert shapes['norm4.weight'] == (256,)


@pytest.mark.parametrize('reduction', [1, 2])
def test_pvt_attention_is_a_softmax(reduction):
    attention = SpatialReductionAttention(12, heads=3, reduction=reduction).eval()
    height, width = 5, 4
    x = torch.randn(2, height * width, 12)
    q = x @ attention.q.weight.T + attention.q.bias
    source = x
    if reduction > 1:
        image = x.transpose(1, 2).reshape(2, 12, height, width)
        source = attention.norm(attention.sr(image).reshape(2, 12, -1).transpose(1, 2))
    k, v = (source @ attention.kv.weight.T + attention.kv.bias).chunk(2, dim=-1)
    heads = []
    for q_h, k_h, v_h in zip(q.split(4, -1), k.split(4, -1), v.split(4, -1), strict=True):
        heads.append((q_h @ k_h.transpose(1, 2) / math.sqrt(4)).softmax(-1) @ v_h)
    expected = torch.cat(heads, -1) @ attention.proj.weight.T + attention.proj.bias
    torch.testing.assert_close(attention(x, height, width), expected, rtol=1e-5, atol=1e-5)


def test_pvt_tokens_stay_in_place():
    """Moving what is in the image by the coarsest stride moves the finest level: rows and columns are not mixed up."""
    backbone = PVTv2('b0').eval()
    images = torch.zeros(2, 3, 128, 160)
    thing = torch.randn(3, 8, 16)
    images[0, :, 44:52, 40:56] = thing
    images[1, :, 76:84, 104:120] = thing
    with torch.no_grad():
        here, there = backbone(images)[0]
    torch.testing.assert_close(here[:, 8:16, 8:16], there[:, 16:24, 24:32], rtol=0, atol=1e-5)
    assert not torch.allclose(here[:, 8:16, 8:16], there[:, 8:16, 8:16], atol=1e-3)


def test_pvt_smallest_image():
    backbone = PVTv2('b0').eval()
    assert backbone(torch.randn(1, 3, 29, 40))[0].shape == (1, 32, 8, 10)
    with pytest.raises(UserError, match=r'^invalid input of 28 x 40 pixels: expected at least 29 x 29'):
        backbone(torch.randn(1, 3, 28, 40))


def test_pvt_loads_published_weights(tmp_path):
    """They are a bare state dict with the classifier in it."""
    trained = PVTv2('b0')
    published = {
        **trained.state_dict(),
        'head.weight': torch.zeros(1000, 256),
        'head.bias': torch.zeros(1000),
    }
    torch.save(published, tmp_path / 'pvt_v2_b0.pth')
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'pvt_v2_b0.pth')}
    backbone = PVTv2('b0', init_cfg=init_cfg)
    backbone.init_weights()
    assert _same_weights(backbone, trained)
    assert PVTv2('b0').load_state_dict(published) is not None  # strict
    with pytest.raises(UserError, match=r"do not fit PVTv2\('b1'\)"):
        PVTv2('b1', init_cfg=init_cfg).init_weights()


def _same_weights(a, b):
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))
