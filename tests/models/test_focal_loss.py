"""Focal loss of the changed class against cross entropy, its formula and its purpose."""

import math

import pytest
import torch
import torch.nn.functional as F

from hsonet_mm.errors import UserError
from hsonet_mm.models.losses import BinaryFocalLoss
from hsonet_mm.registry import MODELS

pytestmark = pytest.mark.any_host

LABEL = torch.tensor([[[0, 1, 1, 0], [0, 1, 255, 255]]])


def test_without_focus_it_is_half_of_cross_entropy():
    torch.manual_seed(0)
    pred = torch.randn(1, 1, 2, 4)
    known = LABEL != 255
    entropy = F.binary_cross_entropy_with_logits(pred[:, 0][known], LABEL[known].float())
    assert BinaryFocalLoss(gamma=0.0, alpha=0.5)(pred, LABEL) == pytest.approx(entropy.item() / 2)


def test_by_hand():
    pred = torch.full((1, 1, 2, 4), math.log(3))  # p = 3/4 everywhere
    changed, unchanged = 0.25 * 0.25**2 * -math.log(0.75), 0.75 * 0.75**2 * -math.log(0.25)
    assert BinaryFocalLoss(loss_weight=2.0)(pred, LABEL) == pytest.approx(2 * (changed + unchanged) / 2)


def test_a_hard_pixel_outweighs_an_easy_one_by_the_exponent():
    pred = torch.tensor([[[[2.0, -2.0]]]])
    label = torch.ones(1, 1, 2, dtype=torch.long)

    def terms(gamma):
        loss = BinaryFocalLoss(gamma, alpha=0.5)
        ignored = label.clone()
        ignored[..., 0] = 255
        hard = loss(pred, ignored)
        return hard / (2 * loss(pred, label) - hard)

    assert terms(2.0) / terms(0.0) == pytest.approx(math.exp(2.0) ** 2, rel=1e-4)


def test_ignored_pixels_change_nothing_and_have_no_gradient():
    pred = torch.zeros(1, 1, 2, 4, requires_grad=True)
    MODELS.build({'type': 'hsonet_mm.BinaryFocalLoss'})(pred, LABEL).backward()
    gradient = pred.grad[0, 0]
    assert (gradient[LABEL[0] == 1] < 0).all()
    assert (gradient[LABEL[0] == 0] > 0).all()
    assert (gradient[LABEL[0] == 255] == 0).all()


def test_nothing_known_and_extreme_logits_are_finite():
    pred = torch.full((1, 1, 2, 4), -200.0, requires_grad=True)
    loss = BinaryFocalLoss()(pred, torch.full((1, 2, 4), 255)) + BinaryFocalLoss()(pred, LABEL)
    loss.backward()
    assert loss.isfinite()
    assert pred.grad.isfinite().all()


def test_small_exponent_is_finite_where_a_pixel_is_surely_right():
    pred = torch.full((1, 1, 2, 4), -120.0, requires_grad=True)
    BinaryFocalLoss(gamma=0.5)(pred, torch.zeros(1, 2, 4, dtype=torch.long)).backward()
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize('constants', [{'gamma': -1}, {'gamma': math.nan}, {'alpha': 0}, {'alpha': 1.5}])
def test_constants_that_are_none(constants):
    with pytest.raises(UserError, match=r'^invalid .* of BinaryFocalLoss: expected'):
        BinaryFocalLoss(**constants)
