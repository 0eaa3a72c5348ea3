"""The stand-in's neck: the policies of Open-CD's."""

import pytest
import torch

from hsonet_mm.errors import UserError
from hsonet_mm.opencd import feature_fusion


@pytest.mark.parametrize(
    ('policy', 'expected'), [('concat', [1.0, 3.0]), ('sum', [4.0]), ('diff', [2.0]), ('abs_diff', [2.0])]
)
def test_feature_fusion(policy, expected):
    t1, t2 = ([torch.full((2, 1, size, size), value) for size in (4, 2)] for value in (1.0, 3.0))
    fused = feature_fusion.FeatureFusionNeck(policy, out_indices=(1, 0))(t1, t2)
    assert [level.shape[-1] for level in fused] == [2, 4]
    for level in fused:
        assert level[0, :, 0, 0].tolist() == expected


def test_feature_fusion_policy():
    with pytest.raises(UserError, match=r"^invalid fusion 'product' of FeatureFusionNeck: expected"):
        feature_fusion.FeatureFusionNeck('product')
