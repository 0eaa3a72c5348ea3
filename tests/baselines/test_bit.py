"""BIT: the order of the dates, and Open-CD's numbers."""

import pytest
import torch
from resnet_baselines import HEAD, needs_opencd, real, same, share_weights

from hsonet_mm.baselines.bit import BITHead

pytestmark = pytest.mark.usefixtures('opencd_scope')

# --- the parts


@pytest.mark.parametrize(
    'kwargs', [{}, {'use_tokenizer': False}, {'use_tokenizer': False, 'pool_mode': 'avg'}]
)
@pytest.mark.parametrize('enc_with_pos', [True, False])
def test_bit_does_not_depend_on_the_order_without_positions(kwargs, enc_with_pos):
    kwargs = {'embed_dims': 16, 'num_heads': 4, 'dec_depth': 2, 'enc_with_pos': enc_with_pos, **kwargs}
    head = BITHead(8, 16, in_index=0, **HEAD, **kwargs).eval()
    t1, t2 = torch.randn(2, 1, 8, 4, 6)
    with torch.no_grad():
        forth, back = (head([torch.cat(pair, dim=1)]) for pair in ((t1, t2), (t2, t1)))
    assert forth.shape == (1, 2, 32, 48)
    assert torch.allclose(forth, back, atol=1e-5) is not enc_with_pos


# --- beside the real Open-CD


class TestPartsAgainstOpenCD:
    pytestmark = needs_opencd

    @pytest.mark.parametrize(
        'kwargs',
        [
            {'use_tokenizer': False},
            {'use_tokenizer': False, 'pool_mode': 'avg', 'pool_size': 3},
            {'enc_with_pos': False, 'enc_depth': 2, 'pre_upsample': 1, 'upsample_size': 2},
        ],
    )
    def test_bit(self, kwargs):
        theirs, ours = (
            cls(in_channels=8, channels=16, in_index=0, dec_depth=2, **HEAD, **kwargs)
            for cls in (real('BITHead'), BITHead)
        )
        share_weights(theirs, ours)
        feats = [torch.randn(2, 16, 6, 10)]
        same(theirs.eval()(feats), ours.eval()(feats))
