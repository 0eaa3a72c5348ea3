"""What losses take from the heads of MMSegmentation, by those of Dice and focal loss: logits, labels, weights."""

import numpy as np
import pytest
import torch
from mmseg.models.decode_heads import FCNHead
from mmseg.structures.sampler import OHEMPixelSampler

from hsonet_mm.errors import UserError
from hsonet_mm.models.losses import BinaryDiceLoss, BinaryFocalLoss, binary_dice_loss, binary_focal_loss

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
    with pytest.raises(UserError, match=r'for heads of one channel, not 2: .*out_channels=1'):
        loss(torch.zeros(1, 2, 2, 4), LABEL)


def test_other_labels_are_refused(loss):
    with pytest.raises(UserError, match=r'^invalid label 2: expected 0\.\.1 '):
        loss(torch.zeros(1, 1, 2, 4), LABEL + (LABEL == 1))


# --- weights and reductions, against sums written out with NumPy


def batch(seed=0):
    """Logits, labels with ignored pixels, and weights, some of which are 0."""
    rng = np.random.default_rng(seed)
    pred = torch.from_numpy(rng.normal(0, 2, (2, 1, 3, 4)))
    label = torch.from_numpy(rng.choice([0, 1, 255], (2, 3, 4), p=[0.5, 0.4, 0.1]))
    weight = torch.from_numpy(rng.choice([0.0, 0.5, 2.0], (2, 3, 4)))
    assert {0, 1, 255} == set(label.unique().tolist())
    return pred, label, weight


def by_hand(loss, pred, label, weight):
    """Sum over the known pixels, one after the other, and their number."""
    known = label.numpy() != 255
    z, y, w = pred[:, 0].numpy()[known], label.numpy()[known], weight.numpy()[known]
    p = 1 / (1 + np.exp(-z))
    if isinstance(loss, BinaryDiceLoss):
        return 1 - (2 * sum(w * p * y) + 1) / (sum(w * p) + sum(w * y) + 1), 1
    right = np.where(y == 1, p, 1 - p)
    return sum(w * np.where(y == 1, 0.25, 0.75) * (1 - right) ** 2 * -np.log(right)), known.sum()


@pytest.mark.parametrize('weighted', [True, False])
def test_weights_count_each_pixel_so_often(loss, weighted):
    pred, label, weight = batch()
    weight = weight if weighted else torch.ones_like(weight)
    total, pixels = by_hand(loss, pred, label, weight)
    given = weight if weighted else None
    assert loss(pred, label, given).item() == pytest.approx(total / pixels, rel=1e-12)
    assert loss(pred, label, given, reduction_override='sum').item() == pytest.approx(total, rel=1e-12)
    parts = loss(pred, label, given, reduction_override='none')
    assert parts.shape == label.shape
    assert (parts >= 0).all()
    assert parts.sum().item() == pytest.approx(total, rel=1e-12)
    assert (parts[label == 255] == 0).all()
    assert (parts[weight == 0] == 0).all()


def test_weights_may_have_a_channel(loss):
    pred, label, weight = batch()
    assert loss(pred, label, weight[:, None]) == loss(pred, label, weight)
    with pytest.raises(ValueError, match=r'weight of shape \(2, 3, 3\) does not fit'):
        loss(pred, label, weight[..., :3])


def test_double_precision_is_kept_and_the_gradient_is_right(loss):
    pred, label, weight = batch()
    assert loss(pred, label).dtype == torch.float64
    assert loss(pred.half(), label).dtype == torch.float32
    pred.requires_grad_()
    for reduction in ('mean', 'sum', 'none'):
        assert torch.autograd.gradcheck(
            lambda z, how=reduction: loss(z, label, weight, reduction_override=how), (pred,)
        )


def test_other_reductions_are_refused(loss):
    pred, label, _ = batch()
    with pytest.raises(UserError, match="invalid reduction 'total': expected none, mean or sum"):
        loss(pred, label, reduction_override='total')


def test_hard_pixels_are_sampled(loss):
    """MMSegmentation's OHEM keeps the pixels of the largest losses, and the loss of the rest vanishes."""
    head = FCNHead(in_channels=1, channels=1, num_classes=2, out_channels=1, threshold=0.5)
    head.loss_decode = loss
    pred, label, _ = batch()
    weight = OHEMPixelSampler(head, min_kept=3).sample(pred, label[:, None])  # per image
    parts = loss(pred, label, reduction_override='none')
    kept = parts.flatten().topk(6).indices.sort().values
    assert torch.equal(weight.flatten().nonzero()[:, 0], kept)
    assert (loss(pred, label, weight, reduction_override='none')[weight == 0] == 0).all()


def test_functions_are_the_losses(loss):
    pred, label, weight = batch()
    function = binary_dice_loss if isinstance(loss, BinaryDiceLoss) else binary_focal_loss
    assert function(pred, label, weight=weight) == loss(pred, label, weight)
    assert type(loss)(loss_weight=3.0)(pred, label) == 3 * function(pred, label)
