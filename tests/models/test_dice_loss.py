"""Dice loss of the changed class against its formula and its purpose."""

import pytest
import torch

from hsonet_mm.models.losses import BinaryDiceLoss
from hsonet_mm.registry import MODELS

pytestmark = pytest.mark.any_host

LABEL = torch.tensor([[[0, 1, 1, 0], [0, 1, 255, 255]]])


def logits(label, size=20.0):
    """A map that is sure of every pixel."""
    return (2.0 * (label == 1).float() - 1)[:, None] * size


def test_a_perfect_map_has_no_loss_and_an_inverted_one_the_highest():
    loss = BinaryDiceLoss()
    assert loss(logits(LABEL), LABEL) == pytest.approx(0, abs=1e-6)
    assert loss(-logits(LABEL), LABEL) == pytest.approx(1 - 1 / (3 + 3 + 1), abs=1e-6)


def test_by_hand():
    pred = torch.zeros(1, 1, 2, 4)  # p = 0.5 at the six known pixels
    assert BinaryDiceLoss(loss_weight=2.0)(pred, LABEL) == pytest.approx(
        2 * (1 - (2 * 1.5 + 1) / (3 + 3 + 1))
    )


def test_ignored_pixels_change_nothing_and_have_no_gradient():
    torch.manual_seed(0)
    pred = torch.randn(1, 1, 2, 4, requires_grad=True)
    value = BinaryDiceLoss()(pred, LABEL)
    value.backward()
    assert (pred.grad[0, 0, 1, 2:] == 0).all()
    assert (pred.grad[0, 0, 0] != 0).all()
    other = pred.detach().clone()
    other[0, 0, 1, 2:] = 9
    assert BinaryDiceLoss()(other, LABEL) == value


def test_pulls_changed_pixels_up_and_others_down():
    pred = torch.zeros(1, 1, 2, 4, requires_grad=True)
    MODELS.build({'type': 'hsonet_mm.BinaryDiceLoss'})(pred, LABEL).backward()
    gradient = pred.grad[0, 0]
    assert (gradient[LABEL[0] == 1] < 0).all()
    assert (gradient[LABEL[0] == 0] > 0).all()


def test_no_changed_pixel_is_finite():
    pred = torch.full((1, 1, 2, 4), -20.0)
    assert BinaryDiceLoss()(pred, torch.zeros(1, 2, 4, dtype=torch.long)) == pytest.approx(0, abs=1e-6)
