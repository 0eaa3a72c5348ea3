"""EO-loss: labels and shapes that do not fit, means over windows and sums over processes."""

import threading

import numpy as np
import pytest
import torch
from losses import HEADS, close, gradient, make_batch

from hsonet_mm.errors import UserError
from hsonet_mm.models.losses import EOWeighting, eo_loss


class TestTrimAndWindow:
    @pytest.mark.parametrize('form', ['all', 'background'])
    @pytest.mark.parametrize('channels', HEADS)
    def test_hardness_is_the_mean_error_of_the_class_in_the_window(self, form, channels):
        pred, target = make_batch(channels)
        _, terms = eo_loss(pred, target, 0.0, EOWeighting(form, gamma=1.0, window=3))
        errors, mean = terms.errors.numpy(), np.zeros(target.shape)
        for n, y, x in np.ndindex(*target.shape):
            around = [
                (n, j, i)
                for j in range(max(y - 1, 0), min(y + 2, 6))
                for i in range(max(x - 1, 0), min(x + 2, 7))
                if target[n, j, i] != 255 and (target[n, j, i] > 0) == (target[n, y, x] > 0)
            ]
            if target[n, y, x] != 255:
                mean[n, y, x] = np.mean([errors[at] for at in around])
        weighed = (target != 255) & ((target == 0) | (form == 'all'))
        ratio = terms.weights[weighed] / torch.as_tensor(mean)[weighed]
        close(ratio, ratio.mean().expand_as(ratio))

    def test_in_a_window_an_outline_is_easier_than_a_missed_object(self):
        """Both have the same error; without a window they weigh the same."""
        target = torch.zeros(1, 32, 32, dtype=torch.long)
        target[0, 2:12, 2:12] = target[0, 20:29, 20:29] = 1
        pred = torch.where(target == 1, 6.0, -6.0).double()
        pred[0, 2, 2:12] = -3  # the outline of one object
        pred[0, 20:29, 20:29] = -3  # all of the other
        for window, least in ((1, 1.0), (9, 2.0)):
            weights = eo_loss(pred.unsqueeze(1), target, 0.0, EOWeighting(window=window))[1].weights
            ratio = float(weights[0, 24, 24] / weights[0, 2, 6])
            assert ratio == pytest.approx(1.0) if window == 1 else ratio > least


class TestInputs:
    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('label', [-1, 7])
    def test_unknown_label_is_named(self, channels, label):
        pred, target = make_batch(channels)
        target[0, 0, 0] = label
        with pytest.raises(
            UserError, match=rf'^invalid label {label}: expected 0\.\.{max(2, channels) - 1} '
        ):
            eo_loss(pred, target, 0.5)

    def test_255_is_a_label_like_others_when_not_ignored(self):
        pred, target = make_batch()
        with pytest.raises(UserError, match=r'^invalid label 255: expected'):
            eo_loss(pred, target, 0.5, ignore_index=-100)

    def test_an_ignored_class(self):
        pred, target = make_batch(5)
        remapped = torch.where(target == 3, 255, target)
        moved = torch.where(target == 255, 3, target)
        close(eo_loss(pred, moved, 0.3, ignore_index=3)[0], eo_loss(pred, remapped, 0.3)[0])

    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('dtype', [torch.uint8, torch.int32])
    def test_label_types(self, channels, dtype):
        pred, target = make_batch(channels)
        close(eo_loss(pred, target.to(dtype).unsqueeze(1), 0.3)[0], eo_loss(pred, target, 0.3)[0])

    @pytest.mark.parametrize('shape', [(2, 6, 8), (6, 7), (2, 2, 6, 7), (1, 6, 7)])
    def test_shape_mismatch(self, shape):
        pred, target = make_batch()
        with pytest.raises(ValueError, match=r'target of shape .* does not fit logits'):
            eo_loss(pred, torch.zeros(shape, dtype=torch.long), 0.5)
        with pytest.raises(ValueError, match=r'weight of shape .* does not fit logits'):
            eo_loss(pred, target, 0.5, weight=torch.ones(shape))


class _Ranks:
    """Two ranks as threads: all_reduce waits for both."""

    def __init__(self):
        self.barrier, self.values, self.local = threading.Barrier(2), {}, threading.local()

    def all_reduce(self, value, operation):
        self.values[self.local.rank] = value.clone()
        self.barrier.wait(10)
        both = torch.stack([self.values[0], self.values[1]])
        value.copy_(both.amax(0) if operation == torch.distributed.ReduceOp.MAX else both.sum(0))
        self.barrier.wait(10)

    def run(self, function):
        results = {}

        def work(rank):
            self.local.rank = rank
            results[rank] = function(rank)

        threads = [threading.Thread(target=work, args=[rank]) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return results[0], results[1]


@pytest.mark.parametrize('form', ['all', 'background'])
@pytest.mark.parametrize('channels', HEADS)
def test_mean_over_ranks_is_one_process_on_the_whole_batch(monkeypatch, form, channels):
    pred, target = make_batch(channels)
    target[0, :3] = 255
    weighting = EOWeighting(form, gamma=2.0)
    expected, terms = eo_loss(pred, target, 0.3, weighting)
    ranks = _Ranks()
    for name, value in {
        'is_initialized': lambda: True,
        'get_world_size': lambda: 2,
        'all_reduce': ranks.all_reduce,
    }.items():
        monkeypatch.setattr(torch.distributed, name, value)

    def one(rank):
        part = pred.detach()[rank : rank + 1].requires_grad_()
        loss, own = eo_loss(part, target[rank : rank + 1], 0.3, weighting)
        close(own.normaliser, terms.normaliser)
        return loss.detach(), gradient(loss, part)

    (loss_0, grad_0), (loss_1, grad_1) = ranks.run(one)
    close((loss_0 + loss_1) / 2, expected)
    close(torch.cat([grad_0, grad_1]) / 2, gradient(expected, pred))
