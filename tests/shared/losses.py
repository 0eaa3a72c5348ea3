"""Batches for losses, and what their tests compare."""

import torch
import torch.nn.functional as F

FORMS = ('all', 'background', 'top_share')
HEADS = (1, 2, 5)
FARSEG = {'trim': 1.0, 'floor': 0.0, 'balance': 0.0}  # constants of the module that give FarSeg's form


def make_batch(channels=1, seed=0, ignored=True, spread=3.0, dtype=torch.float64):
    """Logits (2, C, 6, 7) and labels, with a rare foreground and some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    pred = spread * torch.randn(2, channels, 6, 7, generator=generator, dtype=torch.float64)
    target = torch.randint(0, max(2, channels), (2, 6, 7), generator=generator)
    target *= torch.rand(2, 6, 7, generator=generator) < 0.5
    if ignored:
        target[torch.rand(2, 6, 7, generator=generator) < 0.1] = 255
    return pred.to(dtype).requires_grad_(), target


def plain(pred, target):
    """Cross entropy averaged over the valid pixels."""
    if pred.shape[1] == 1:
        pred = torch.cat([torch.zeros_like(pred), pred], 1)
    return F.cross_entropy(pred, target, ignore_index=255)


def gradient(loss, pred):
    return torch.autograd.grad(loss, pred)[0]


def close(actual, expected, tolerance=1e-10):
    actual = actual.detach().double() if torch.is_tensor(actual) else actual
    torch.testing.assert_close(
        torch.as_tensor(actual), torch.as_tensor(expected).double(), rtol=tolerance, atol=tolerance
    )
