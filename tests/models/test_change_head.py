"""What all heads of the package have in common: the prior of a rare class, and losses in the log."""

import math

import pytest
import torch
from networks import dates, head, samples, together
from torch import nn

from hsonet_mm.errors import UserError

# --- head


@pytest.mark.parametrize('prior', [None, 0.1])
def test_head_starts_from_the_prior(prior):
    network = head(**({} if prior is None else {'prior': prior}))
    nn.init.ones_(network.conv_seg.bias)
    network.init_weights()
    expected = 0.02 if prior is None else prior
    assert network.conv_seg.bias.item() == pytest.approx(math.log(expected / (1 - expected)))
    t1 = dates()
    assert torch.allclose(network(together(t1, t1)).sigmoid(), torch.tensor(expected))


def test_head_starts_almost_blind():
    network = head(channels=128)
    network.init_weights()
    assert network.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert network.decoder.levels[0][0].conv.weight.std() > 0.02  # the rest starts as convolutions do


def test_prior_does_not_tell_two_channels_apart():
    network = head(out_channels=2, threshold=None, loss_decode={'type': 'mmseg.CrossEntropyLoss'})
    network.init_weights()
    t1 = dates()
    assert torch.allclose(network(together(t1, t1)).softmax(dim=1), torch.tensor(0.5))


# --- detail


@pytest.mark.parametrize('prior', [0.0, 1.0, -0.1])
def test_prior_is_a_share(prior):
    with pytest.raises(UserError, match=f'^invalid prior {prior}: expected'):
        head(prior=prior)


# --- losses of the head


def test_losses_of_one_name_add_up():
    once = {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True, 'loss_name': 'loss_ce'}
    thrice = {**once, 'loss_weight': 2.0}
    other = {**once, 'loss_name': 'loss_other'}
    logits, batch = torch.randn(2, 1, 16, 16), samples()
    expected = head(loss_decode=once).loss_by_feat(logits, batch)['loss_ce']
    losses = head(loss_decode=[once, thrice, other]).loss_by_feat(logits, batch)
    assert losses.keys() == {'loss_ce', 'loss_other'}
    torch.testing.assert_close(losses['loss_ce'], 3 * expected)
    torch.testing.assert_close(losses['loss_other'], expected)


def test_accuracy_is_logged_where_it_means_something():
    batch = samples()
    assert head().loss_by_feat(torch.randn(2, 1, 16, 16), batch).keys() == {'loss_ce'}
    two = head(out_channels=2, threshold=None, loss_decode={'type': 'mmseg.CrossEntropyLoss'})
    assert two.loss_by_feat(torch.randn(2, 2, 16, 16), batch).keys() == {'loss_ce', 'acc_seg'}
