r"""EO-loss as functions: per-pixel losses and errors, their weights, and the loss with its gradient.

Notation: z logit, y label, margin :math:`m = (2y-1)z`, loss :math:`l = \mathrm{softplus}(-m)`, error
:math:`e = \sigma(-m) = 1 - p_y`, hardness :math:`h = (e / \max e)^\gamma`, annealing value :math:`\zeta`.

References:
    HSONet, arXiv 2402.16242 (the idea of EO-loss); FarSeg, arXiv 2011.09766 (form A, its public code).
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from hsonet_mm.errors import UserError

__all__ = ['FORMS', 'EOTerms', 'Form', 'Weighing', 'eo_loss', 'eo_weights', 'one_logit']

Form = Literal['A', 'B', 'C']
FORMS: tuple[Form, ...] = ('A', 'B', 'C')
HARD = 0.5
"""Error above which background counts as hard in the log: the pixel would be called changed [choice]."""


@dataclass(frozen=True)
class Weighing:
    """How hardness turns into weights.

    Args:
        form: ``A`` weighs all pixels by their hardness under one normaliser [code]; ``B`` the background alone, under a
            normaliser of its own, while all foreground has one weight, `foreground_gain` early and 1 late, before all
            are scaled to keep the value [choice]; ``C`` as A with h = 1 on the `top_share` largest losses and 0
            elsewhere [choice, after the paper's "distribution of the loss values"].
        gamma: focusing exponent of the hardness, >= 0; 0 gives plain weights. Unused by form C.
        foreground_gain: form B only, > 0: weight of the foreground at zeta = 1, annealed to 1; 1 emphasises nothing.
        top_share: form C only, share of the pixels with a loss above 0 that count as hard, in (0, 1]; each rank of
            a distributed training takes its own.
    """

    form: Form = 'A'
    gamma: float = 2.0
    foreground_gain: float = 1.0
    top_share: float = 0.2

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f'form must be one of {", ".join(FORMS)}, not {self.form!r}')
        if not self.gamma >= 0:
            raise ValueError(f'gamma must be >= 0, not {self.gamma}')
        if not self.foreground_gain > 0:
            raise ValueError(f'foreground_gain must be > 0, not {self.foreground_gain}')
        if not 0 < self.top_share <= 1:
            raise ValueError(f'top_share must be in (0, 1], not {self.top_share}')


class EOTerms(NamedTuple):
    """What an EO-loss consists of; every entry is detached.

    Args:
        weights: w of every pixel, times its pixel weight if there are such; shape of the label, 0 where ignored.
        losses: l of every pixel, times its pixel weight if there are such; 0 where ignored.
        errors: e of every pixel, 0 where ignored.
        foreground: whether the label is a foreground class.
        normaliser: Z (form B: that of the background), a 0-d tensor.
    """

    weights: Tensor
    losses: Tensor
    errors: Tensor
    foreground: Tensor
    normaliser: Tensor

    def gradient_shares(self) -> dict[str, Tensor]:
        """Shares of the L1 norm of dL/dz that foreground, hard and easy background hold; they add up to 1.

        Background is hard when its error exceeds 0.5, so that it would be called changed.
        """
        pull = self.weights * self.errors
        total = pull.sum()
        background = pull.masked_fill_(self.foreground, 0).sum()
        hard = pull.masked_fill_(self.errors <= HARD, 0).sum()
        whole = total.clamp_min(torch.finfo(pull.dtype).tiny)
        return {
            'grad_foreground': (total - background) / whole,
            'grad_hard_background': hard / whole,
            'grad_easy_background': (background - hard) / whole,
        }


class _Attach(torch.autograd.Function):
    """A value with a gradient computed beforehand, so that no intermediate of it stays in memory."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, value: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # by create_graph=True
            raise RuntimeError('EO-loss has no second derivatives: its gradient is a constant to PyTorch')
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None


def eo_weights(
    losses: Tensor, errors: Tensor, foreground: Tensor, zeta: float, weighing: Weighing
) -> tuple[Tensor, Tensor]:
    r"""Weights of EO-loss from per-pixel losses and errors, over all ranks of a distributed training.

    .. math:: w_i = \zeta + (1 - \zeta) Z h_i, \qquad Z = \sum l \,/ \sum h l

    so that the weighted mean of the losses keeps the value of their plain mean.

    Args:
        losses: l >= 0, any shape, 0 where ignored; a pixel weight is already multiplied in.
        errors: e in [0, 1], same shape, 0 where ignored.
        foreground: boolean, same shape.
        zeta: annealing value in [0, 1]; 1 gives plain weights.
        weighing: form and its constants.

    Returns:
        The weights, same shape, and the normaliser Z (form B: of the background) as a 0-d tensor.
    """
    if weighing.form == 'C':
        hardness = (losses >= _smallest_of_top(losses, weighing.top_share)).to(losses.dtype)
    else:
        largest = _over_ranks(errors.max(), dist.ReduceOp.MAX).clamp_min(torch.finfo(errors.dtype).tiny)
        hardness = (errors / largest).pow_(weighing.gamma)
    if weighing.form != 'B':
        total, hard = _over_ranks(torch.stack([losses.sum(), _dot(hardness, losses)]))
        return _annealed(hardness, zeta, total, hard)

    background_losses = losses.masked_fill(foreground, 0)
    sums = torch.stack([losses.sum(), background_losses.sum(), _dot(hardness, background_losses)])
    total, background, hard = _over_ranks(sums)
    weights, normaliser = _annealed(hardness, zeta, background, hard)
    gain = 1 + (weighing.foreground_gain - 1) * zeta
    weights.masked_fill_(foreground, gain)  # zeta of the foreground is 1: its own hardness never matters
    kept = gain * (total - background) + background
    weights.mul_(torch.where(kept > 0, total / kept, 1.0))
    return weights, normaliser


def _annealed(hardness: Tensor, zeta: float, total: Tensor, hard: Tensor) -> tuple[Tensor, Tensor]:
    """Turn hardness into w = zeta + (1 - zeta) Z h, in place; w = 1 where no pixel is hard at all."""
    some = hard > 0
    normaliser = torch.where(some, total / hard, 1.0)
    share = (1 - zeta) * some.to(total.dtype)
    return hardness.mul_(share * normaliser).add_(1 - share), normaliser


def _smallest_of_top(losses: Tensor, share: float) -> Tensor:
    """Smallest of the `share` largest losses of this rank, at least the smallest positive number."""
    hard = max(1, round(share * int(losses.count_nonzero())))
    smallest = losses.flatten().kthvalue(losses.numel() - hard + 1).values
    return smallest.clamp_min(torch.finfo(losses.dtype).tiny)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(a.reshape(-1), b.reshape(-1))


def _over_ranks(value: Tensor, operation: Any = dist.ReduceOp.SUM) -> Tensor:
    """Reduce over the ranks of a distributed training; the identity elsewhere."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(value, operation)
    return value


def eo_loss(
    pred: Tensor,
    target: Tensor,
    zeta: float,
    weighing: Weighing | None = None,
    weight: Tensor | None = None,
    ignore_index: int = 255,
) -> tuple[Tensor, EOTerms]:
    r"""EO-loss of logits.

    .. math:: L = \frac{1}{n} \sum_{i \in V} w_i l_i, \qquad
              \frac{\partial L}{\partial z_i} = \frac{w_i (p_i - y_i)}{n}

    The weights are constants to the gradient. The value equals the plain (cross-entropy) loss whatever the weights;
    only the gradient moves. In a distributed training sums go over all ranks, so that the mean of the ranks' values
    and gradients is that of one process on the whole batch.

    Args:
        pred: logits; one channel is a sigmoid head, two are a softmax head (z = z_1 - z_0), more are multi-class.
        target: class of every pixel, 0 is background; `ignore_index` where unknown.
        zeta: annealing value in [0, 1].
        weighing: form and constants of the weights; None means form A with gamma 2.
        weight: weight >= 0 of every pixel, or None.
        ignore_index: label that changes nothing.

    Shapes:
        pred (N, C, *), target and weight (N, *) or (N, 1, *).

    Returns:
        The loss, a 0-d tensor in float32 or better, and what it consists of.

    Raises:
        ValueError: for shapes that do not fit.
        UserError: for labels that `pred` has no class for.
    """
    target = _fitting(target, pred, 'target')
    classes = max(2, pred.shape[1])
    ignored = _ignored(target, ignore_index, classes)
    with torch.autocast(pred.device.type, enabled=False):
        pred = pred if pred.dtype == torch.float64 else pred.float()
        logits = pred
        if classes == 2:
            logits = pred.squeeze(1) if pred.shape[1] == 1 else pred[:, 1] - pred[:, 0]
        with torch.no_grad():
            if classes == 2:
                slope = target.to(logits.dtype).mul_(-2).add_(1)  # 1 - 2y: dl/dz = (1 - 2y) e
                against = _filled(slope * logits, ignored, -torch.inf)  # -m; ignored pixels are in the right
                losses = F.softplus(against)
                errors = against.sigmoid_()
            else:
                pixels = None if ignored is None else ignored.unsqueeze(1)
                log_probs = _filled(F.log_softmax(logits, dim=1), pixels, 0)  # logits there may be NaN
                index = _filled(target.unsqueeze(1).to(torch.int64, copy=True), pixels, 0)
                losses = log_probs.gather(1, index).squeeze(1).neg_()
                errors = -torch.expm1(-losses)
            if weight is not None:
                weight = _fitting(weight, pred, 'weight').to(losses.dtype)
                losses.mul_(weight)
            foreground = _filled(target > 0, ignored, False)
            weights, normaliser = eo_weights(losses, errors, foreground, zeta, weighing or Weighing())
            weights = _filled(weights, ignored, 0)

            valid = torch.tensor(target.numel()) if ignored is None else (~ignored).count_nonzero()
            scale = _world_size() / _over_ranks(valid).clamp_min(1).to(losses.dtype)
            value = _dot(weights, losses) * scale
            if weight is not None:
                weights.mul_(weight)
            if classes == 2:
                gradient = slope.mul_(errors).mul_(weights).mul_(scale)
            else:
                gradient = log_probs.exp_().scatter_add_(1, index, -torch.ones_like(losses).unsqueeze(1))
                gradient.mul_(weights.unsqueeze(1)).mul_(scale)
        loss: Tensor = _Attach.apply(logits, value, gradient)  # type: ignore[no-untyped-call]
        return loss, EOTerms(weights, losses, errors, foreground, normaliser)


def one_logit(pred: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a loss of "changed" for heads of one channel works with.

    Args:
        pred: logits (N, 1, *).
        target: labels 0, 1 and `ignore_index`, (N, *) or (N, 1, *).
        ignore_index: label of pixels that do not count.

    Returns:
        Logits, 0 where ignored, whatever they were; labels, 1 where changed and else 0; which pixels count. All (N, *).

    Raises:
        UserError: for more channels, or other labels.
    """
    if pred.shape[1] != 1:
        raise UserError(
            f'the loss is for heads of one channel and gets {pred.shape[1]}: set decode_head.out_channels=1, '
            'or take a loss of MMSegmentation'
        )
    target = _fitting(target, pred, 'target')
    ignored = _ignored(target, ignore_index, classes=2)
    known = torch.ones_like(target, dtype=torch.bool) if ignored is None else ~ignored
    return pred.float().squeeze(1).masked_fill(~known, 0), ((target == 1) & known).float(), known


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _fitting(values: Tensor, pred: Tensor, name: str) -> Tensor:
    """Bring a label or weight map of shape (N, *) or (N, 1, *) to (N, *) and compare it with the logits."""
    expected = pred.shape[:1] + pred.shape[2:]
    if values.shape != expected and values.ndim == pred.ndim and values.shape[1] == 1:
        values = values.squeeze(1)
    if values.shape != expected:
        raise ValueError(
            f'{name} of shape {tuple(values.shape)} does not fit logits of shape {tuple(pred.shape)}: '
            f'expected {tuple(expected)}'
        )
    return values


def _ignored(target: Tensor, ignore_index: int, classes: int) -> Tensor | None:
    """Where pixels are ignored, or None if nowhere; refuse labels without a class.

    A GPU is not waited for: there the answer is never None, and unknown labels stop the program a bit later.
    """
    on_cpu = target.device.type == 'cpu'
    if on_cpu and target.numel():
        lowest, highest = target.aminmax()
        if lowest >= 0 and highest < classes and not 0 <= ignore_index < classes:
            return None
    ignored = target == ignore_index
    known = ((target >= 0) & (target < classes)) | ignored
    wanted = f'labels must be 0..{classes - 1} for this head'
    cure = 'check num_classes of the head and the label files (0/1 or 0/255 for binary change)'
    if not on_cpu:
        torch._assert_async(known.all(), f'{wanted}, but another occurs: {cure}')
    elif not known.all():
        raise UserError(f'{wanted}, but {int(target[~known][0])} occurs: {cure}')
    return ignored


def _filled(values: Tensor, mask: Tensor | None, value: float) -> Tensor:
    """`values` with `value` at the places of the mask, in place."""
    return values if mask is None else values.masked_fill_(mask, value)
