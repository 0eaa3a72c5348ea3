"""EO-loss against a float64 oracle in NumPy: its identities, numerics, forms and schedules."""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from losses import FARSEG, FORMS, HEADS, close, gradient, make_batch, plain
from mmengine.config import Config
from mmseg.models import FCNHead

from hsonet_mm.errors import UserError
from hsonet_mm.models.losses import ANNEALING, EOLoss, EOWeighting, eo_loss, eo_weights
from hsonet_mm.registry import MODELS


def oracle(pred, target, zeta, form='all', gamma=2.0, top=0.2, weight=None):
    """Value, weights, Z and dL/dlogits in NumPy, pixel by pixel in float64."""
    logits = np.moveaxis(pred.detach().double().numpy(), 1, -1)
    one_channel = logits.shape[-1] == 1
    if one_channel:
        logits = np.concatenate([np.zeros_like(logits), logits], -1)
    labels = target.numpy()
    valid = labels != 255
    z, y = logits[valid], labels[valid]
    log_probs = z - z.max(-1, keepdims=True)
    log_probs -= np.log(np.exp(log_probs).sum(-1, keepdims=True))
    a = np.ones(len(y)) if weight is None else weight.double().numpy()[valid]
    losses = -log_probs[np.arange(len(y)), y] * a
    errors = 1 - np.exp(log_probs[np.arange(len(y)), y])
    if form == 'top_share':
        hard = np.zeros(len(y))
        hard[np.argsort(-losses)[: round(top * len(y))]] = 1
    else:
        hard = (errors / errors.max()) ** gamma
    if form == 'background':
        background = y == 0
        normaliser = losses[background].sum() / (hard * losses)[background].sum()
        w = np.where(background, zeta + (1 - zeta) * normaliser * hard, 1)
    else:
        normaliser = losses.sum() / (hard * losses).sum()
        w = zeta + (1 - zeta) * normaliser * hard
    slope = np.exp(log_probs) - np.eye(z.shape[-1])[y]
    grad = np.zeros_like(logits)
    grad[valid] = (w * a)[:, None] * slope / len(y)
    weights = np.zeros(labels.shape)
    weights[valid] = w
    grad = np.moveaxis(grad, -1, 1)
    return (w * losses).sum() / len(y), weights, normaliser, grad[:, 1:] if one_channel else grad


class TestOracle:
    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('form', FORMS)
    @pytest.mark.parametrize('zeta', [0.0, 0.3, 1.0])
    def test_value_weights_and_gradient(self, channels, form, zeta):
        pred, target = make_batch(channels)
        loss, terms = eo_loss(pred, target, zeta, EOWeighting(form, gamma=2.0))
        value, weights, normaliser, grad = oracle(pred, target, zeta, form)
        close(loss, value)
        close(terms.weights, weights)
        close(terms.normaliser, normaliser)
        close(gradient(loss, pred), grad)

    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('form', FORMS)
    def test_pixel_weight(self, channels, form):
        pred, target = make_batch(channels, seed=3)
        weight = torch.rand(2, 6, 7, dtype=torch.float64) + 0.1
        loss, terms = eo_loss(pred, target, 0.4, EOWeighting(form), weight)
        value, weights, _, grad = oracle(pred, target, 0.4, form, weight=weight)
        close(loss, value)
        close(terms.weights, weights * weight.numpy())
        close(gradient(loss, pred), grad)

    def test_a_weight_of_one_is_none(self):
        pred, target = make_batch()
        plain_loss, weighted = (
            eo_loss(pred, target, 0.2, None, w)[0] for w in (None, torch.ones(2, 1, 6, 7))
        )
        close(plain_loss, weighted)

    def test_default_weighting_is_form_all_with_gamma_2(self):
        pred, target = make_batch()
        expected = eo_loss(pred, target, 0.2, EOWeighting('all', 2.0))[1].weights
        assert torch.equal(eo_loss(pred, target, 0.2)[1].weights, expected)


class TestIdentities:
    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('form', FORMS)
    @pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0, 5.0])
    def test_1_value_is_that_of_plain_cross_entropy(self, channels, form, gamma):
        pred, target = make_batch(channels)
        for zeta in (0.0, 0.1, 0.5, 1.0):
            close(
                eo_loss(pred, target, zeta, EOWeighting(form, gamma))[0],
                plain(pred, target),
            )

    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize(
        ('form', 'gamma', 'zeta'),
        [
            ('all', 2.0, 1.0),
            ('background', 2.0, 1.0),
            ('top_share', 2.0, 1.0),
            ('all', 0.0, 0.0),
            ('background', 0.0, 0.3),
        ],
    )
    def test_2_gradient_is_plain_at_zeta_1_or_gamma_0(self, channels, form, gamma, zeta):
        pred, target = make_batch(channels)
        actual = gradient(eo_loss(pred, target, zeta, EOWeighting(form, gamma))[0], pred)
        close(actual, gradient(plain(pred, target), pred))

    @pytest.mark.parametrize('form', FORMS)
    def test_3_gradient_is_w_times_p_minus_y_over_n(self, form):
        pred, target = make_batch()
        loss, terms = eo_loss(pred, target, 0.25, EOWeighting(form))
        valid = target != 255
        expected = terms.weights * (pred[:, 0].sigmoid() - target) * valid / valid.sum()
        close(gradient(loss, pred)[:, 0], expected)

    @pytest.mark.parametrize('form', ['all', 'top_share'])
    @pytest.mark.parametrize('zeta', [0.0, 0.4, 0.9])
    @pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
    def test_4_weights_are_at_least_zeta_and_z_at_least_1(self, form, zeta, dtype):
        pred, target = make_batch(dtype=dtype)
        _, terms = eo_loss(pred, target, zeta, EOWeighting(form))
        valid = target != 255
        assert terms.weights[valid].min() >= zeta - 1e-7
        assert terms.normaliser >= 1
        mean = (terms.weights * terms.losses).sum() / terms.losses.sum()
        close(mean, 1.0, 1e-6)

    @pytest.mark.parametrize('form', FORMS)
    def test_5_equal_errors_weigh_1(self, form):
        target = torch.tensor([[[0, 1, 0, 1]]])
        pred = torch.where(target == 1, -1.3, 1.3).double().unsqueeze(1)
        close(eo_loss(pred, target, 0.0, EOWeighting(form))[1].weights, torch.ones(1, 1, 4))

    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('form', FORMS)
    @pytest.mark.parametrize('garbage', [1e4, torch.nan, torch.inf, -torch.inf])
    def test_6_ignored_pixels_change_nothing(self, channels, form, garbage):
        pred, target = make_batch(channels)
        ignored = (target == 255).unsqueeze(1)
        assert ignored.any()
        spoilt = pred.detach().masked_fill(ignored, garbage).requires_grad_()
        clean, dirty = (eo_loss(x, target, 0.3, EOWeighting(form, gamma=2.0)) for x in (pred, spoilt))
        assert torch.equal(clean[0], dirty[0])
        for one, other in zip(clean[1], dirty[1], strict=True):
            assert torch.equal(one, other)
        grads = gradient(clean[0], pred), gradient(dirty[0], spoilt)
        assert torch.equal(*grads)
        assert not grads[1][ignored.expand_as(pred)].any()

    @pytest.mark.parametrize('channels', HEADS)
    def test_6_the_same_without_the_pixels(self, channels):
        pred, target = make_batch(channels)
        valid = target != 255
        alone = pred.movedim(1, -1)[valid].T.reshape(1, channels, -1, 1)
        close(eo_loss(pred, target, 0.3)[0], eo_loss(alone, target[valid].reshape(1, -1, 1), 0.3)[0])


class TestGradient:
    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize(('zeta', 'gamma'), [(1.0, 2.0), (0.3, 0.0)])
    def test_gradcheck(self, channels, zeta, gamma):
        pred, target = make_batch(channels)
        assert torch.autograd.gradcheck(
            lambda x: eo_loss(x, target, zeta, EOWeighting('all', gamma))[0], [pred]
        )

    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('form', FORMS)
    def test_numerical_gradient_with_frozen_weights(self, channels, form):
        pred, target = make_batch(channels)
        loss, frozen = eo_loss(pred, target, 0.2, EOWeighting(form))
        actual = gradient(loss, pred).flatten()
        n, step = int((target != 255).sum()), 1e-5

        def value(x):
            return float((frozen.weights * eo_loss(x, target, 1.0)[1].losses).sum() / n)

        for index in range(0, pred.numel(), 5):
            nudge = torch.zeros(pred.numel(), dtype=pred.dtype)
            nudge[index] = step
            nudge = nudge.view_as(pred)
            numerical = (value(pred.detach() + nudge) - value(pred.detach() - nudge)) / (2 * step)
            assert float(actual[index]) == pytest.approx(numerical, abs=1e-8)

    def test_scales_with_the_gradient_from_above(self):
        pred, target = make_batch()
        loss = eo_loss(pred, target, 0.2)[0]
        grad = torch.autograd.grad(loss, pred, retain_graph=True)[0]
        close(gradient(3 * loss, pred), 3 * grad)

    def test_inputs_are_left_alone(self):
        for channels in HEADS:
            pred, target = make_batch(channels)
            weight = torch.rand(2, 6, 7)
            before = [x.detach().clone() for x in (pred, target, weight)]
            eo_loss(pred, target, 0.2, None, weight)[0].backward()
            assert all(
                torch.equal(*pair) for pair in zip(before, (pred.detach(), target, weight), strict=True)
            )

    def test_two_logits_are_one_logit_of_the_difference(self):
        two, target = make_batch(2)
        one = (two[:, 1:] - two[:, :1]).detach().requires_grad_()
        (a, a_terms), (b, b_terms) = eo_loss(two, target, 0.3), eo_loss(one, target, 0.3)
        close(a, b)
        close(a_terms.weights, b_terms.weights)
        grad = gradient(b, one)
        close(gradient(a, two), torch.cat([-grad, grad], 1))


class TestNumerics:
    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('form', FORMS)
    @pytest.mark.parametrize('margin', [17.0, 50.0, 120.0])
    @pytest.mark.parametrize('signs', ['right', 'wrong', 'both'])
    def test_extreme_margins_are_finite_in_fp32(self, channels, form, margin, signs):
        target = torch.tensor([0, 1, 0, 1]).view(1, 2, 2)
        sign = torch.tensor({'right': [1, 1, 1, 1], 'wrong': [-1, -1, -1, -1], 'both': [1, 1, -1, -1]}[signs])
        pred = torch.zeros(1, channels, 2, 2)
        pred[:, -1 if channels == 1 else 1] = sign.view(1, 2, 2) * (2 * target - 1) * margin
        pred.requires_grad_()
        for zeta in (0.0, 0.5):
            loss, terms = eo_loss(pred, target, zeta, EOWeighting(form, gamma=2.0))
            grad = gradient(loss, pred)
            assert all(torch.isfinite(x).all() for x in (loss, grad, terms.weights, terms.normaliser))
            close(loss, plain(pred.double(), target), 1e-5)
            if signs != 'right':
                assert grad.abs().max() > 0.1

    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('form', FORMS)
    def test_all_ignored_is_0_with_zero_gradient(self, channels, form):
        pred, target = make_batch(channels)
        loss, terms = eo_loss(pred, torch.full_like(target, 255), 0.5, EOWeighting(form))
        assert loss == 0
        assert not gradient(loss, pred).any()
        assert sum(terms.gradient_shares().values()) == 0

    @pytest.mark.parametrize('form', FORMS)
    @pytest.mark.parametrize('label', [0, 1])
    def test_one_class_only(self, form, label):
        pred, target = make_batch()
        target = torch.full_like(target, label)
        loss, terms = eo_loss(pred, target, 0.3, EOWeighting(form, gamma=2.0))
        close(loss, plain(pred, target))
        share = terms.gradient_shares()['grad_foreground']
        close(share, float(label))

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize('channels', HEADS)
    def test_half_precision_is_computed_in_fp32(self, dtype, channels):
        pred, target = make_batch(channels, dtype=dtype)
        loss, terms = eo_loss(pred, target, 0.3)
        assert loss.dtype == terms.weights.dtype == torch.float32
        assert gradient(loss, pred).dtype == dtype
        close(loss, oracle(pred, target, 0.3)[0], 1e-5)

    def test_half_precision_sums_do_not_overflow(self):
        pred = torch.full((1, 1, 512, 512), 5.0, dtype=torch.float16)
        close(
            eo_loss(pred, torch.zeros(1, 512, 512, dtype=torch.long), 0.5)[0], math.log1p(math.exp(5)), 1e-4
        )

    @pytest.mark.parametrize('channels', HEADS)
    def test_cpu_autocast_computes_in_fp32(self, channels):
        pred, target = make_batch(channels, dtype=torch.bfloat16)
        expected, _ = eo_loss(pred, target, 0.3)
        with torch.autocast('cpu', torch.bfloat16):
            loss, terms = eo_loss(pred, target, 0.3)
        assert loss.dtype == terms.weights.dtype == torch.float32
        assert torch.equal(loss, expected)


class TestForms:
    def test_background_does_not_see_the_hardness_of_the_foreground(self):
        pred, target = make_batch(ignored=False)
        terms = eo_loss(pred, target, 0.0, EOWeighting('background'))[1]
        background = target == 0
        hard = (terms.errors / terms.errors.max()) ** 2 * background
        close(terms.normaliser, (background * terms.losses).sum() / (hard * terms.losses).sum())
        close(terms.weights, torch.where(background, terms.normaliser * hard, 1))

    def test_background_leaves_the_foreground_alone(self):
        pred, target = make_batch()
        _, terms = eo_loss(pred, target, 0.0, EOWeighting('background'))
        close(terms.weights[target == 1], torch.ones(int((target == 1).sum())))

    def test_background_without_foreground_is_form_all(self):
        pred, target = make_batch()
        target[target == 1] = 0
        a, b = (eo_loss(pred, target, 0.3, EOWeighting(form, gamma=2.0))[1] for form in ('all', 'background'))
        close(a.weights, b.weights)
        close(a.normaliser, b.normaliser)

    def test_background_with_foreground_only_weighs_1(self):
        pred, target = make_batch(ignored=False)
        _, terms = eo_loss(pred, torch.ones_like(target), 0.6, EOWeighting('background', gamma=2.0))
        close(terms.weights, torch.ones(2, 6, 7))

    def test_top_share_weighs_the_top_20_percent(self):
        pred = torch.linspace(-4, 4, 50, dtype=torch.float64).view(1, 1, 5, 10)
        _, terms = eo_loss(pred, torch.zeros(1, 5, 10, dtype=torch.long), 0.0, EOWeighting('top_share'))
        assert (terms.weights > 0).flatten().tolist() == [False] * 40 + [True] * 10

    def test_top_share_counts_valid_pixels_only(self):
        pred = torch.linspace(-4, 4, 50, dtype=torch.float64).view(1, 1, 5, 10)
        target = torch.zeros(1, 5, 10, dtype=torch.long)
        target[0, :4] = 255
        _, terms = eo_loss(pred, target, 0.0, EOWeighting('top_share'))
        assert int((terms.weights > 0).sum()) == 2

    def test_top_share_has_at_least_one_hard_pixel(self):
        pred, target = make_batch()
        _, terms = eo_loss(pred, target, 0.0, EOWeighting('top_share', top_share=1e-6))
        assert int((terms.weights > 0).sum()) == 1
        assert terms.weights.argmax() == terms.losses.argmax()


class TestTrimAndWindow:
    @pytest.mark.parametrize('form', ['all', 'background', 'top_share'])
    def test_trimmed_pixels_weigh_zeta_and_no_other_gets_their_loss(self, form):
        pred, target = make_batch(spread=4.0)
        loss, terms = eo_loss(pred, target, 0.3, EOWeighting(form, trim=0.8))
        weighed = terms.foreground.logical_not() if form == 'background' else terms.errors >= 0
        trimmed, trusted = weighed & (terms.errors > 0.8), weighed & (terms.errors <= 0.8)
        assert trimmed.any()
        close(terms.weights[trimmed], torch.full((int(trimmed.sum()),), 0.3, dtype=torch.float64))
        close((terms.weights * terms.losses)[trusted].sum(), terms.losses[trusted].sum())
        close(loss, plain(pred, target) - 0.7 * terms.losses[trimmed].sum() / (target != 255).sum())

    @pytest.mark.parametrize('form', ['all', 'background', 'top_share'])
    @pytest.mark.parametrize('window', [1, 5])
    def test_how_wrong_a_trimmed_pixel_is_changes_no_weight(self, form, window):
        pred, target = make_batch(spread=4.0)
        weighting = EOWeighting(form, trim=0.8, window=window)
        _, terms = eo_loss(pred, target, 0.3, weighting)
        worse = torch.where((terms.errors > 0.8).unsqueeze(1), 3 * pred, pred)
        close(eo_loss(worse, target, 0.3, weighting)[1].weights, terms.weights)

    @pytest.mark.parametrize('logit', [-15.0, -20.0, -33.0, -80.0])
    def test_one_mislabelled_pixel_leaves_the_gradient_of_the_right_ones(self, logit):
        """Among almost equal losses all weigh 1, however small they are."""
        pred = torch.full((1, 1, 64, 64), logit)
        pred[0, 0, 5, 5] = 5.0
        loss, terms = eo_loss(pred, torch.zeros(1, 64, 64, dtype=torch.long), 0.5, EOWeighting(trim=0.8))
        assert loss.isfinite()
        assert terms.weights[0, 5, 5] == 0.5
        close(terms.weights[0, 0], torch.ones(64))

    def test_without_focus_trimmed_pixels_weigh_zeta_all_the_same(self):
        pred, target = make_batch(spread=4.0)
        _, terms = eo_loss(pred, target, 0.3, EOWeighting(gamma=0.0, trim=0.8))
        trimmed = terms.errors > 0.8
        assert set(terms.weights[trimmed].tolist()) == {0.3}
        trusted = terms.weights[(target != 255) & ~trimmed]
        close(trusted, torch.ones_like(trusted))

    def test_a_trim_of_everything_weighs_1(self):
        target = torch.tensor([[[0, 1]]])
        pred = torch.tensor([[[[5.0, -5.0]]]])
        close(eo_loss(pred, target, 0.0, EOWeighting(trim=0.5))[1].weights, torch.ones(1, 1, 2))


class TestBalance:
    @pytest.mark.parametrize('channels', HEADS)
    @pytest.mark.parametrize('window', [3, 5, 33])
    def test_weights_by_hand(self, channels, window):
        """Share of foreground among the valid pixels of every window, pixel by pixel."""
        pred, target = make_batch(channels)
        _, terms = eo_loss(pred, target, 1.0, EOWeighting(balance=0.7, balance_window=window))
        labels, scarcity = target.numpy(), {}
        for n, i, j in zip(*np.nonzero((labels > 0) & (labels != 255)), strict=True):
            rows = slice(max(i - window // 2, 0), i + window // 2 + 1)
            columns = slice(max(j - window // 2, 0), j + window // 2 + 1)
            near = labels[n, rows, columns]
            near = near[near != 255]
            scarcity[n, i, j] = (near > 0).mean() ** -0.7
        expected = (labels != 255).astype(float)
        for place, value in scarcity.items():
            expected[place] = value / np.mean(list(scarcity.values()))
        close(terms.weights, expected)

    def test_a_small_object_weighs_more_than_a_large_one(self):
        target = torch.zeros(1, 96, 96, dtype=torch.long)
        target[0, 4:8, 4:8] = 1
        target[0, 30:90, 30:90] = 1
        _, terms = eo_loss(torch.zeros(1, 1, 96, 96), target, 1.0, EOWeighting(balance=0.5))
        weights = terms.weights[0]
        assert weights[5, 5] > 4 * weights[60, 60]
        assert weights[30, 60] > weights[60, 60]  # the outline
        close(weights[target[0] == 1].mean(), 1.0, 1e-6)
        assert (weights[target[0] == 0] == 1).all()

    @pytest.mark.parametrize('form', FORMS)
    def test_value_is_that_of_balanced_cross_entropy_at_every_zeta(self, form):
        pred, target = make_batch()
        values = [
            eo_loss(pred, target, zeta, EOWeighting(form, balance=0.5, balance_window=5))[0]
            for zeta in (0.0, 0.5, 1.0)
        ]
        for value in values[:2]:
            close(value, values[2])
        assert not torch.isclose(values[2], plain(pred, target))

    def test_multiplies_the_weights_of_pixels(self):
        pred, target = make_batch()
        weight = torch.rand(2, 6, 7, dtype=torch.float64)
        alone = eo_loss(pred, target, 1.0, EOWeighting(balance=0.5))[1].weights
        close(eo_loss(pred, target, 1.0, EOWeighting(balance=0.5), weight)[1].weights, alone * weight)

    @pytest.mark.parametrize('label', [0, 1, 255])
    def test_one_class_only_is_plain(self, label):
        pred, _ = make_batch()
        target = torch.full((2, 6, 7), label)
        balanced, without = (eo_loss(pred, target, 0.3, EOWeighting(balance=b))[0] for b in (0.5, 0))
        close(balanced, without)
        close(gradient(balanced, pred), gradient(without, pred))


class TestInputs:
    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            ({'form': 'D'}, "invalid form 'D': expected one of all, background, top_share"),
            ({'gamma': -1}, 'invalid gamma -1: expected 0 or more'),
            ({'gamma': math.nan}, 'invalid gamma nan: expected 0 or more'),
            ({'window': 4}, 'invalid window 4: expected odd and positive'),
            ({'window': -1}, 'invalid window -1: expected odd and positive'),
            ({'trim': 0}, r'invalid trim 0: expected in \(0, 1\]'),
            ({'top_share': 0}, r'invalid top_share 0: expected in \(0, 1\]'),
            ({'top_share': 1.5}, r'invalid top_share 1.5: expected in \(0, 1\]'),
            ({'balance': -0.5}, 'invalid balance -0.5: expected 0 or more'),
            ({'balance_window': 32}, 'invalid balance_window 32: expected odd and positive'),
            ({'schedule': 'step'}, "invalid schedule 'step': expected one of linear, poly, cosine, constant"),
            ({'begin': 1}, r'invalid begin 1: expected in \[0, 1\)'),
            ({'end': 0}, r'invalid end 0: expected above begin=0.0 and at most 1'),
            ({'begin': 0.5, 'end': 0.5}, r'invalid end 0.5: expected above begin=0.5'),
            ({'end': 1.1}, 'invalid end 1.1: expected above begin=0.0 and at most 1'),
            ({'floor': -0.1}, r'invalid floor -0.1: expected in \[0, 1\]'),
        ],
    )
    def test_constructor_errors(self, arguments, message):
        with pytest.raises(UserError, match=message):
            EOLoss(**arguments)

    def test_a_sum_is_refused(self):
        with pytest.raises(UserError, match="invalid reduction 'sum': expected none or mean"):
            EOLoss()(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2), reduction_override='sum')


def test_eo_weights_of_no_loss_are_1():
    zeros = torch.zeros(5)
    for form in FORMS:
        weights, normaliser = eo_weights(zeros, zeros, zeros > 0, zeros == 0, 0.0, EOWeighting(form))
        assert torch.equal(weights, torch.ones(5))
        assert normaliser == 1


class TestSchedule:
    @pytest.mark.parametrize('name', ['linear', 'poly', 'cosine'])
    def test_falls_from_1_to_0(self, name):
        values = [ANNEALING[name](s) for s in np.linspace(0, 1, 21)]
        assert (values[0], values[-1]) == pytest.approx((1, 0), abs=1e-12)
        assert all(a > b for a, b in itertools.pairwise(values))

    def test_values_half_way(self):
        half = {name: function(0.5) for name, function in ANNEALING.items()}
        assert half == pytest.approx({'linear': 0.5, 'poly': 0.5**0.9, 'cosine': 0.5, 'constant': 1.0})

    @pytest.mark.parametrize('name', ANNEALING)
    def test_progress_is_clamped(self, name):
        loss = EOLoss(schedule=name)
        assert loss.zeta(-0.5) == loss.zeta(0.0) == 1
        assert loss.zeta(1.7) == loss.zeta(1.0)
        assert isinstance(loss.zeta(1.7), float)  # a power of a negative number would be complex

    def test_end(self):
        loss = EOLoss(schedule='linear', end=0.25, floor=0.0)
        assert [loss.zeta(s) for s in (0, 0.125, 0.25, 0.9)] == pytest.approx([1, 0.5, 0, 0])

    def test_begin_and_floor(self):
        loss = EOLoss(schedule='linear', begin=0.5, end=0.75, floor=0.4)
        assert [loss.zeta(s) for s in (0, 0.5, 0.625, 0.75, 1)] == pytest.approx([1, 1, 0.7, 0.4, 0.4])

    def test_constant_is_plain_cross_entropy(self):
        pred, target = make_batch()
        actual = gradient(EOLoss(schedule='constant', **FARSEG)(pred, target, progress=0.9), pred)
        close(actual, gradient(plain(pred, target), pred))


class TestModule:
    def test_defaults_are_those_of_the_configs(self, repo):
        config = Config.fromfile(repo / 'configs/hsonet_levir.py').model.decode_head.loss_decode
        assert repr(EOLoss()) == repr(MODELS.build(config))
        assert repr(EOLoss(**FARSEG)) != repr(EOLoss())

    def test_is_registered(self):
        loss = MODELS.build({'type': 'EOLoss', 'loss_weight': 0.5, 'form': 'background'})
        assert isinstance(loss, EOLoss)
        assert loss.loss_name == 'loss_eo'

    def test_loss_weight_scales_the_value_and_the_gradient(self):
        pred, target = make_batch()
        whole, half = (EOLoss(loss_weight=w)(pred, target, progress=0.5) for w in (1.0, 0.5))
        close(half, 0.5 * whole)
        close(gradient(half, pred), 0.5 * gradient(whole, pred))

    def test_passes_weight_and_ignore_index_on(self):
        pred, target = make_batch()
        weight = torch.rand(2, 6, 7)
        target[target == 255] = 9
        actual = EOLoss(schedule='linear', **FARSEG)(
            pred, target, weight, ignore_index=9, progress=0.3, unknown=1
        )
        close(actual, eo_loss(pred, target, 0.7, None, weight, 9)[0])

    @pytest.mark.parametrize('clone', [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
    def test_copies(self, clone):
        pred, target = make_batch()
        loss = EOLoss(
            'background',
            1.0,
            schedule='poly',
            end=0.5,
            loss_weight=2.0,
            loss_name='loss_x',
        )
        twin = clone(loss)
        assert (twin.weighting, twin.loss_name, repr(twin)) == (loss.weighting, 'loss_x', repr(loss))
        grads = [gradient(x(pred, target, progress=0.2), pred) for x in (loss, twin)]
        assert torch.equal(*grads)

    def test_has_no_state(self):
        loss = EOLoss()
        assert not loss.state_dict()
        assert not list(loss.parameters())
        loss.load_state_dict({})

    def test_repr_names_the_constants(self):
        text = repr(EOLoss(gamma=1.5, schedule='poly', end=0.5, floor=0.0))
        assert all(
            part in text for part in ("form='all'", 'gamma=1.5', "schedule='poly'", 'end=0.5', 'floor=0.0')
        )

    @pytest.mark.parametrize('channels', [1, 2])
    def test_in_a_head_of_mmsegmentation_with_two_losses(self, training, channels):
        hub = training(0, 40)
        torch.manual_seed(0)
        losses = [
            {'type': 'hsonet_mm.EOLoss', 'loss_weight': 0.5},
            {'type': 'hsonet_mm.EOLoss', 'form': 'background', 'loss_name': 'loss_eo_background'},
        ]
        head = FCNHead(
            in_channels=4,
            channels=4,
            num_convs=1,
            num_classes=2,
            out_channels=channels,
            threshold=0.3,
            loss_decode=losses,
        )
        pred = torch.randn(2, channels, 4, 4, requires_grad=True)
        labels = torch.randint(0, 2, (2, 1, 8, 8))
        out = head.loss_by_feat(pred, [_sample(label) for label in labels])
        assert {'loss_eo', 'loss_eo_background'} <= set(out)
        close(out['loss_eo_background'], 2 * out['loss_eo'].detach(), 1e-5)
        (out['loss_eo'] + out['loss_eo_background']).backward()
        assert pred.grad.abs().sum() > 0
        assert {'train/eo_zeta', 'train/eo_background_zeta'} <= set(hub.log_scalars)


def _sample(label):
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    return SegDataSample(gt_sem_seg=PixelData(data=label.unsqueeze(0) if label.ndim == 2 else label))


@pytest.mark.parametrize(
    'loss',
    [
        {'type': 'hsonet_mm.EOLoss', 'schedule': 'constant'},
        {'type': 'hsonet_mm.BinaryFocalLoss', 'alpha': 0.5},
    ],
)
def test_hard_examples_are_mined_by_the_plain_loss(loss):
    """MMSegmentation's sampler takes the pixels of the largest losses, and nothing that is ignored."""
    head = FCNHead(
        in_channels=4,
        channels=4,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        loss_decode=loss,
        sampler={'type': 'OHEMPixelSampler', 'min_kept': 10},
    )
    pred, target = make_batch(dtype=torch.float32)
    weight = head.sampler.sample(pred, target[:, None])
    logits = torch.cat([torch.zeros_like(pred), pred], 1)
    hard = F.cross_entropy(logits, target, ignore_index=255, reduction='none')
    expected = hard.flatten().topk(10 * len(pred)).indices
    assert set(weight.flatten().nonzero().flatten().tolist()) == set(expected.tolist())
