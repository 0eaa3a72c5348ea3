"""ChangeStar and FarSeg: both orders of the dates, sizes, and Open-CD's keys and numbers."""

import copy

import pytest
import torch
from opencd_baselines import model_config
from resnet_baselines import HEAD, build, changestar, needs_opencd, real, same, share_weights, truth
from torch import nn

from hsonet_mm.baselines.changestar import FarSegHead
from hsonet_mm.models import VFPN
from hsonet_mm.opencd import (
    registry,
    stand_in,  # noqa: F401 (registers detectors and preprocessor beside the real Open-CD)
)

pytestmark = pytest.mark.usefixtures('opencd_scope')

# --- the parts


def test_changestar_predicts_and_learns_in_both_orders():
    head = changestar().eval()
    feats = [torch.randn(1, 8, 8, 12), torch.randn(1, 8, 4, 6), torch.randn(1, 12, 1, 1)]
    swapped = [torch.cat(x.chunk(2, dim=1)[::-1], dim=1) for x in feats]
    with torch.no_grad():
        forth, back = head(feats)
        for one, other in zip(head(swapped), (back, forth), strict=True):
            torch.testing.assert_close(one, other)
        meta = [{'img_shape': (8, 12)}]
        for mode, expected in {'t1t2': forth, 't2t1': back, 'mean': (forth + back) / 2}.items():
            head.inference_mode = mode
            torch.testing.assert_close(head.predict_by_feat((forth, back), meta), expected)
        losses = head.loss_by_feat((forth, back), [truth(32, 48)])
    assert losses.keys() == {'t1t2.loss_ce', 't1t2.acc_seg', 't2t1.loss_ce', 't2t1.acc_seg'}
    assert losses['t1t2.loss_ce'] != losses['t2t1.loss_ce']


def test_changestar_leaves_its_config_alone():
    seg_head_cfg = model_config('farseg_r18').decode_head.seg_head_cfg
    before = copy.deepcopy(seg_head_cfg)
    build('farseg_r18')
    registry.MODELS.build(model_config('farseg_r18'))
    assert seg_head_cfg == before


# --- beside the real Open-CD


class TestPartsAgainstOpenCD:
    pytestmark = needs_opencd

    def test_farseg_head_alone(self):
        kwargs = {'in_channels': [4, 4, 4, 4, 6], 'in_index': [0, 1, 2, 3, 4], 'channels': 8, **HEAD}
        theirs, ours = (cls(fsr_channels=8, **kwargs) for cls in (real('FarSegHead'), FarSegHead))
        share_weights(theirs, ours)
        feats = [torch.randn(2, 4, 16 // 2**k, 24 // 2**k) for k in range(4)] + [torch.randn(2, 6, 1, 1)]
        same(theirs.eval()(feats), ours.eval()(feats))

    @pytest.mark.parametrize('policy', ['concat', 'sum', 'diff', 'abs_diff'])
    def test_farseg_fpn(self, policy):
        kwargs = {'policy': policy, 'in_channels': [4, 8], 'out_channels': 8, 'num_outs': 2}
        theirs, ours = (cls(**kwargs) for cls in (real('FarSegFPN'), VFPN))
        share_weights(theirs, ours)
        dates = [[torch.randn(2, 4, 8, 12), torch.randn(2, 8, 4, 6)] for _ in range(2)]
        same(theirs(*dates), ours(*dates))


def test_farseg_takes_any_size():
    """A window of 40 pixels: levels of 10, 5, 3 and 2, which Open-CD's decoder cannot join."""
    t1t2, t2t1 = build('farseg_r18').eval()(torch.rand(1, 6, 40, 40))
    assert t1t2.shape == t2t1.shape == (1, 1, 10, 10)


def test_farseg_head_has_the_keys_of_opencd():
    """Written out here from Open-CD 1.1; loading gives back what was saved, below any prefix."""
    network = FarSegHead(
        8, in_channels=[4, 4, 6], in_index=[0, 1, 2], channels=8, norm_cfg={'type': 'BN'}, **HEAD
    )
    state = nn.ModuleDict({'head': network}).state_dict()
    weights = [key for key in state if key.endswith('.weight') and '.bn.' not in key]
    assert weights == [
        'head.conv_seg.weight',
        *(f'head._fsr.scene_encoder.{level}.{layer}.weight' for level in (0, 1) for layer in (0, 2)),
        *(f'head._fsr.{part}.{level}.0.conv.weight'
          for part in ('content_encoders', 'feature_reencoders') for level in (0, 1)),
        'head._decoder.blocks.0.0.0.conv.weight',
        'head._decoder.blocks.1.0.0.conv.weight',
    ]  # fmt: skip
    other = FarSegHead(
        8, in_channels=[4, 4, 6], in_index=[0, 1, 2], channels=8, norm_cfg={'type': 'BN'}, **HEAD
    )
    inputs = [torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4), torch.randn(1, 6, 1, 1)]
    assert not torch.equal(other.eval()(inputs), network.eval()(inputs))
    nn.ModuleDict({'head': other}).load_state_dict(state, strict=True)
    assert torch.equal(other(inputs), network(inputs))
