r"""EO-loss, the third part of HSONet: cross entropy that moves from all pixels to the hard ones.

Notation: logit z, label y, margin :math:`m = (2y - 1) z`, loss :math:`l = \mathrm{softplus}(-m)`, error
:math:`e = \sigma(-m) = 1 - p_y`, hardness :math:`h = (e / \max e)^\gamma`, annealing value :math:`\zeta`.

To read: the schedule is :data:`ANNEALING` and :meth:`EOLoss.zeta`, hardness :meth:`EOWeighting.hardness`, the weights
:func:`eo_weights`, and the loss :func:`eo_loss`.

References:
    HSONet, arXiv 2402.16242: the idea [paper]. FarSeg, arXiv 2011.09766: form ``all`` [code]. The other forms, the
    trim, the window, the floor and the balance are ours [choice]; weights by the size of objects were proposed for
    lesions in arXiv 2007.10033, from connected components.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from torch import Tensor
from torch.distributed import ReduceOp

from hsonet_mm.models.losses.eo_terms import EOTerms
from hsonet_mm.models.losses.functional import (
    known_pixels,
    mean_of_class,
    over_processes,
    pixel_weights,
    processes,
    require,
    size_balance,
)
from hsonet_mm.models.losses.running_training import log_scalars, training_progress
from hsonet_mm.models.losses.segmentation_loss import SegmentationLoss
from hsonet_mm.registry import MODELS

__all__ = ['ANNEALING', 'EOLoss', 'EOWeighting', 'eo_loss', 'eo_weights']

ANNEALING: dict[str, Callable[[float], float]] = {
    'linear': lambda s: 1 - s,
    'poly': lambda s: (1 - s) ** 0.9,
    'cosine': lambda s: (1 + math.cos(math.pi * s)) / 2,
    'constant': lambda _: 1.0,
}
"""Annealing from 1 at s = 0 to 0 at s = 1 [code]; ``constant`` is cross entropy, plain if balance is 0 (ablation)."""

Form = Literal['all', 'background', 'top_share']


@dataclass(frozen=True)
class EOWeighting:
    """How a pixel gets its weight, from its error and from the size of the object that it belongs to.

    The defaults are FarSeg's [code]; those of :class:`EOLoss` are the configs'.

    Args:
        form: ``all`` weighs all pixels by their hardness [code]; ``background`` only the background, with a normaliser
            of its own, while the foreground keeps weight 1; ``top_share`` has h = 1 on the largest losses and 0
            elsewhere, after the paper's "distribution of the loss values".
        gamma: focusing exponent of the hardness, >= 0; with 0 and no trim all weights are 1. Unused by
            ``top_share``.
        window: side in pixels, odd, of the window over which errors of the same class are averaged before they become
            hardness: a missed object or a false alarm stays hard, a pixel of an outline does not. 1 averages nothing.
            Unused by ``top_share``.
        trim: error in (0, 1] above which a pixel counts as mislabelled: it is left out of hardness and normaliser and
            weighs zeta; 1 trims nothing.
        top_share: ``top_share`` only: share of the pixels with a loss above 0 that count as hard, in (0, 1]; in a
            distributed training each process selects its own.
        balance: exponent, >= 0, of the weights by size: a pixel of the foreground weighs d^-balance, d being the
            share of foreground in the window around it, over the mean of these weights. Small objects then count
            more, as does the outline of large ones; 0 gives all the same weight.
        balance_window: side in pixels, odd, of that window: a few times as wide as a small object.

    Raises:
        UserError: for a value out of range.
    """

    form: Form = 'all'
    gamma: float = 2.0
    window: int = 1
    trim: float = 1.0
    top_share: float = 0.2
    balance: float = 0.0
    balance_window: int = 33

    def __post_init__(self) -> None:
        require(self.form in get_args(Form), 'form', self.form, f'one of {", ".join(get_args(Form))}')
        require(self.gamma >= 0, 'gamma', self.gamma, '0 or more')
        require(self.window > 0 and self.window % 2 == 1, 'window', self.window, 'odd and positive')
        require(0 < self.trim <= 1, 'trim', self.trim, 'in (0, 1]')
        require(0 < self.top_share <= 1, 'top_share', self.top_share, 'in (0, 1]')
        require(self.balance >= 0, 'balance', self.balance, '0 or more')
        require(
            self.balance_window > 0 and self.balance_window % 2 == 1,
            'balance_window',
            self.balance_window,
            'odd and positive',
        )

    def hardness(
        self, losses: Tensor, errors: Tensor, foreground: Tensor, valid: Tensor, trusted: Tensor
    ) -> Tensor:
        """Hardness h of every pixel, in [0, 1] and 0 where not trusted; other arguments as in :func:`eo_weights`."""
        if self.form == 'top_share':
            losses = losses * trusted
            number = max(1, round(self.top_share * int(losses.count_nonzero())))
            smallest = losses.flatten().topk(min(number, losses.numel())).values[-1]
            return ((losses >= smallest) & (losses > 0)).to(losses.dtype)
        if self.window > 1:
            errors = mean_of_class(errors, foreground & trusted, valid & trusted, self.window)
        hardness = errors * trusted
        largest = over_processes(hardness.max(), ReduceOp.MAX).clamp_min(torch.finfo(errors.dtype).tiny)
        # In place, for the peak memory; with gamma 0 the power is 1 everywhere, so trimmed pixels are set to 0 again.
        return hardness.div_(largest).pow_(self.gamma).mul_(trusted)


def eo_weights(
    losses: Tensor, errors: Tensor, foreground: Tensor, valid: Tensor, zeta: float, weighting: EOWeighting
) -> tuple[Tensor, Tensor]:
    r"""Weights of EO-loss from per-pixel losses and errors, over all processes of a distributed training.

    .. math:: w_i = \zeta + (1 - \zeta) Z h_i, \qquad Z = \sum l \,/ \sum h l

    so that the weighted sum of the losses equals their plain sum. Pixels above `trim` are left out of both sums and
    have h = 0: they weigh zeta, and no other pixel gets their share. w = 1 everywhere if no pixel is hard. Form
    ``background`` sums over the background only, and the foreground has w = 1.

    Args:
        losses: l >= 0, 0 where ignored; a pixel weight is already multiplied in.
        errors: e in [0, 1], 0 where ignored.
        foreground: whether the class is not 0.
        valid: whether a pixel counts.
        zeta: annealing value in [0, 1]; 1 gives plain weights.
        weighting: form and constants.

    Shapes:
        All (N, H, W), as the returned weights; the normaliser Z, returned with them, is a 0-d tensor.

    Example:
        >>> losses, background = torch.tensor([[[0.1, 2.0]]]), torch.tensor([[[False, False]]])
        >>> weights, normaliser = eo_weights(
        ...     losses, 1 - torch.exp(-losses), background, ~background, zeta=0.5, weighting=EOWeighting()
        ... )
        >>> round(float((weights * losses).mean() / losses.mean()), 4)
        1.0
    """
    trusted = errors <= weighting.trim
    hardness = weighting.hardness(losses, errors, foreground, valid, trusted)
    weighed = ~foreground if weighting.form == 'background' else torch.ones_like(foreground)
    losses = losses * (weighed & trusted)
    total, hard = over_processes(torch.stack([losses.sum(), (hardness * losses).sum()]))
    normaliser = torch.where(hard > 0, total / hard, 1.0)
    annealed = zeta + (1 - zeta) * normaliser * hardness
    return torch.where(weighed & (hard > 0), annealed, 1.0), normaliser


def eo_loss(
    pred: Tensor,
    target: Tensor,
    zeta: float,
    weighting: EOWeighting | None = None,
    weight: Tensor | None = None,
    ignore_index: int = 255,
) -> tuple[Tensor, EOTerms]:
    r"""EO-loss of logits.

    .. math:: L = \frac{1}{n} \sum_{i \in V} w_i l_i, \qquad
              \frac{\partial L}{\partial z_i} = \frac{w_i (p_i - y_i)}{n}

    The weights are constants to the gradient. Without a trim the value equals that of plain cross entropy
    (balanced by size, with ``balance``) at every zeta, and only the gradient moves; trimmed pixels count zeta
    times. In a distributed training sums go over all processes, so that the mean of their values and gradients is
    that of one process on the whole batch. Everything is computed in float32 or better.

    Args:
        pred: logits; one channel is a sigmoid head, two are a softmax head (z = z_1 - z_0), more are multi-class.
        target: class of every pixel, 0 is background; `ignore_index` where unknown.
        zeta: annealing value in [0, 1].
        weighting: form and constants of the weights; None means FarSeg's.
        weight: weight >= 0 of every pixel, or None.
        ignore_index: label of pixels that do not count.

    Shapes:
        pred (N, C, H, W), target and weight (N, H, W) or (N, 1, H, W).

    Returns:
        The loss, a 0-d tensor, and its terms.

    Raises:
        ValueError: for shapes that do not fit.
        UserError: for labels that `pred` has no class for.

    Example:
        >>> import torch
        >>> pred, target = torch.tensor([[[[-2.0, 2.0]]]]), torch.tensor([[[0, 0]]])
        >>> loss, terms = eo_loss(pred, target, zeta=0.0)
        >>> [round(w, 2) for w in terms.weights.flatten().tolist()]  # the false alarm gets the gradient
        [0.02, 1.06]
    """
    weighting = weighting or EOWeighting()
    logits, target, valid = known_pixels(pred, target, ignore_index)
    if pred.shape[1] > 2:
        losses = F.cross_entropy(logits, target, reduction='none')
        errors = -torch.expm1(-losses.detach())
    else:
        z = logits.squeeze(1) if pred.shape[1] == 1 else logits[:, 1] - logits[:, 0]
        neg_margin = torch.where(target == 1, -z, z)
        losses, errors = F.softplus(neg_margin), neg_margin.detach().sigmoid()
    foreground = target > 0
    pixel_weight = pixel_weights(weight, pred, valid)
    if weighting.balance > 0:
        pixel_weight = pixel_weight * size_balance(
            foreground, valid, weighting.balance_window, weighting.balance, losses.dtype
        )
    losses, errors = losses * pixel_weight, errors * valid
    constant = losses.detach()
    weights, normaliser = eo_weights(constant, errors, foreground, valid, zeta, weighting)
    n = over_processes(valid.sum()).clamp_min(1)
    loss = (weights * losses).sum() * processes() / n
    return loss, EOTerms(weights * pixel_weight, constant, errors, foreground, normaliser)


@MODELS.register_module()
class EOLoss(SegmentationLoss):
    r"""Cross entropy that moves from all pixels to the hard ones as training proceeds, see :func:`eo_loss`.

    The default is the form that the configs have; ``trim=1, floor=0, balance=0`` is FarSeg's [code]. With the default
    trim the most confident errors, which may be mislabelled, get less of the gradient than in cross entropy, and
    uncertain pixels get more.

    :math:`\zeta` is annealed from 1. Early in the training most hard pixels are foreground; once the foreground is
    learnt, they are hard background: shadows, seasons, pseudo-changes. That a dynamic weight moves the optimisation
    this way is the paper's [paper]; the equation of form ``all`` is FarSeg's [code]; the rest is ours [choice].

    But for trimmed pixels, which count zeta times, the value equals plain cross entropy (balanced by size, with
    `balance`) at every zeta, so a loss curve cannot show the schedule. ``<name>_zeta``, ``<name>_Z`` and the
    shares of the gradient, see :meth:`EOTerms.gradient_shares`, are therefore written to the training log every 10
    iterations (``eo_zeta`` ... for the default name).

    Call it as ``loss(pred, target, weight=None, ignore_index=255, progress=None)``, with the arguments of
    :func:`eo_loss`. ``progress`` is the finished share of the training in [0, 1]; by default it is read from the
    running MMEngine training.

    Args:
        form: the pixels that are weighed, see :class:`EOWeighting`, as for the next six.
        gamma: focusing exponent of the hardness.
        window: side of the window over which errors are averaged, in pixels.
        trim: error above which a pixel counts as mislabelled.
        top_share: share of hard pixels of form ``top_share``.
        balance: exponent of the weights by size.
        balance_window: side of the window in which the share of foreground is measured, in pixels.
        schedule: annealing of zeta: ``linear``, ``poly`` (power 0.9), ``cosine`` or ``constant`` (cross
            entropy, balanced by size unless `balance` is 0).
        begin: share of the training before which zeta is 1, in [0, 1).
        end: share of the training after which zeta is `floor`, in (begin, 1]; FarSeg's is 1/6.
        floor: zeta at the end, in [0, 1]: the weight that easy pixels keep.
        loss_weight: factor on the loss.
        loss_name: its name in the log; must begin with ``loss`` to be optimised. Two losses of one name, as in a main
            and an auxiliary head, overwrite each other's scalars: name the second one ``loss_aux_eo``.

    Raises:
        UserError: for a value out of range.
        RuntimeError: when called without `progress` outside an MMEngine training (unless the schedule is constant).

    Example:
        >>> import torch
        >>> loss = EOLoss()
        >>> pred, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
        >>> round(float(loss(pred, target, progress=0.5)), 4)
        0.6931
    """

    def __init__(
        self,
        form: Form = 'all',
        gamma: float = 2.0,
        window: int = 1,
        trim: float = 0.8,
        top_share: float = 0.2,
        balance: float = 0.5,
        balance_window: int = 33,
        schedule: str = 'cosine',
        begin: float = 0.0,
        end: float = 1.0,
        floor: float = 0.5,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_eo',
    ) -> None:
        super().__init__(loss_weight, loss_name)
        require(schedule in ANNEALING, 'schedule', schedule, f'one of {", ".join(ANNEALING)}')
        require(0 <= begin < 1, 'begin', begin, 'in [0, 1)')
        require(begin < end <= 1, 'end', end, f'above begin={begin} and at most 1')
        require(0 <= floor <= 1, 'floor', floor, 'in [0, 1]')
        self.weighting = EOWeighting(form, gamma, window, trim, top_share, balance, balance_window)
        self.schedule, self.begin, self.end, self.floor = schedule, begin, end, floor
        # A runner makes its hub before its model, so the current hub belongs to this runner.
        self._hub_name = MessageHub.get_current_instance().instance_name

    def zeta(self, progress: float) -> float:
        """Annealing value at a training progress in [0, 1]; progress outside is clamped."""
        s = min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.floor + (1 - self.floor) * ANNEALING[self.schedule](s)

    def loss(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None,
        ignore_index: int,
        reduction: str,
        progress: float | None = None,
        **_: Any,
    ) -> Tensor:
        """EO-loss of a batch without its factor.

        With ``reduction='none'`` the cross entropy (N, H, W) of every pixel, times its weight by size.
        """
        require(reduction in ('none', 'mean'), 'reduction', reduction, 'none or mean')
        if progress is None:
            progress = 0.0 if self.schedule == 'constant' else training_progress(self._hub_name)
        zeta = self.zeta(progress)
        loss, terms = eo_loss(pred, target, zeta, self.weighting, weight, ignore_index)
        if reduction == 'none':
            return terms.losses
        if self.training:
            log_scalars(self._hub_name, self.loss_name.removeprefix('loss_'), lambda: terms.scalars(zeta))
        return loss

    def extra_repr(self) -> str:
        """Constants for printing the model."""
        schedule = (f'{name}={getattr(self, name)!r}' for name in ('schedule', 'begin', 'end', 'floor'))
        return f'{self.weighting}, {", ".join(schedule)}'
