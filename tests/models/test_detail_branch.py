"""The high-resolution branch beside a backbone."""

import pytest
import torch
from networks import DETAIL, SIZES, detail_maps, unlike_new

from hsonet_mm.models import DetailBranch


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
