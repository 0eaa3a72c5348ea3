"""What Dice and focal loss of the changed class have in common: which logits and labels they take."""

import pytest
import torch

from hsonet_mm.errors import UserError
from hsonet_mm.models.losses import BinaryDiceLoss, BinaryFocalLoss

LABEL = torch.tensor([[[0, 1, 1, 0], [0, 1, 255, 255]]])
pytestmark = [
    pytest.mark.any_host,
    pytest.mark.parametrize('loss', [BinaryDiceLoss(), BinaryFocalLoss()], ids=['dice', 'focal']),
]


def test_ignored_pixels_may_be_no_numbers(loss):
    pred = torch.zeros(1, 1, 2, 4).masked_fill(LABEL[:, None] == 255, float('nan')).requires_grad_()
    value = loss(pred, LABEL)
    value.backward()
    assert value.isfinite()
    assert pred.grad.isfinite().all()


def test_label_may_have_a_channel(loss):
    torch.manual_seed(0)
    pred = torch.randn(1, 1, 2, 4)
    assert loss(pred, LABEL[:, None]) == loss(pred, LABEL)


def test_other_heads_are_refused(loss):
    with pytest.raises(UserError, match=r'for heads of one channel and gets 2: .*out_channels=1'):
        loss(torch.zeros(1, 2, 2, 4), LABEL)


def test_other_labels_are_refused(loss):
    with pytest.raises(UserError, match=r'labels must be 0\.\.1 .* but 2 occurs'):
        loss(torch.zeros(1, 1, 2, 4), LABEL + (LABEL == 1))
