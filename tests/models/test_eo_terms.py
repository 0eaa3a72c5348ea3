"""Terms of EO-loss: where its gradient goes as it is annealed."""

import pytest
import torch
from losses import close, gradient, make_batch

from hsonet_mm.models.losses import eo_loss


def simulated(fg, hard, easy):
    """5 % foreground, 5 % hard and 90 % easy background around given errors."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.tensor([fg] * 500 + [hard] * 500 + [easy] * 9000, dtype=torch.float64)
    margins = -torch.logit(errors) + 0.3 * torch.randn(10000, generator=generator, dtype=torch.float64)
    target = (torch.arange(10000) < 500).long().view(1, 100, 100)
    return (margins.view(1, 100, 100) * (2 * target - 1)).unsqueeze(1), target


class TestCurriculum:
    STAGES = ((0.83, 0.38, 0.072), (0.62, 0.78, 0.02), (0.1, 0.7, 0.0037))
    PLAIN = ((0.33, 0.15, 0.52), (0.35, 0.44, 0.21), (0.12, 0.80, 0.08))
    DIAGONAL = ((0.33, 0.15), (0.37, 0.51), (0.02, 0.98))

    def shares(self, stage, zeta):
        """Foreground, hard and easy background, by their place: hard ones may lie below an error of 0.5."""
        _, terms = eo_loss(*simulated(*self.STAGES[stage]), zeta)
        pull = (terms.weights * terms.errors).flatten()
        return [float(part.sum() / pull.sum()) for part in pull.split([500, 500, 9000])]

    @pytest.mark.parametrize('stage', range(3))
    def test_plain_shares_of_the_simulation(self, stage):
        assert self.shares(stage, 1.0) == pytest.approx(self.PLAIN[stage], abs=0.05)

    def test_focus_moves_from_foreground_to_hard_background(self):
        diagonal = [self.shares(stage, zeta) for stage, zeta in enumerate((1.0, 0.5, 0.0))]
        for (fg, hard, _), expected in zip(diagonal, self.DIAGONAL, strict=True):
            assert (fg, hard) == pytest.approx(expected, abs=0.07)
        assert diagonal[0][1] < diagonal[1][1] < diagonal[2][1]
        assert diagonal[0][2] > diagonal[1][2] > diagonal[2][2]

    @pytest.mark.parametrize('stage', range(3))
    def test_easy_background_fades_with_zeta(self, stage):
        easy = [self.shares(stage, zeta)[2] for zeta in (1.0, 0.5, 0.0)]
        assert easy[0] > easy[1] > easy[2]
        assert easy[2] < 0.05

    @pytest.mark.parametrize('weighted', [False, True])
    def test_gradient_shares_are_those_of_the_gradient(self, weighted):
        pred, target = make_batch()
        weight = 1.0 + 9.0 * (target == 1) if weighted else None
        loss, terms = eo_loss(pred, target, 0.3, weight=weight)
        pull = gradient(loss, pred)[:, 0].abs()
        hard = (target == 0) & (pred[:, 0] > 0)
        expected = [pull[m].sum() / pull.sum() for m in (target == 1, hard, (target == 0) & ~hard)]
        shares = terms.gradient_shares()
        names = ('grad_foreground', 'grad_hard_background', 'grad_easy_background')
        close(torch.stack([shares[name] for name in names]), torch.stack(expected))

    def test_edges_are_the_pixels_within_2_of_an_outline(self):
        """A square of 6 x 6 in 16 x 16: all errors are equal, so shares are areas."""
        target = torch.zeros(1, 16, 16, dtype=torch.long)
        target[0, 5:11, 5:11] = 1
        pred = torch.where(target == 1, -1.0, 1.0).unsqueeze(1)
        shares = eo_loss(pred, target, 1.0)[1].gradient_shares()
        inside, outside = 36 - 2 * 2, 10 * 10 - 36
        assert float(shares['grad_edges']) == pytest.approx((inside + outside) / 256)
