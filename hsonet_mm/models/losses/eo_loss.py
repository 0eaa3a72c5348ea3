r"""EO-loss, the third part of HSONet: cross entropy that moves from all pixels to the hard ones.

Notation: logit z, label y, margin :math:`m = (2y - 1) z`, loss :math:`l = \mathrm{softplus}(-m)`, error
:math:`e = \sigma(-m) = 1 - p_y`, hardness :math:`h = (e / \max e)^\gamma`, annealing value :math:`\zeta`.

References:
    HSONet, arXiv 2402.16242: the idea [paper]. FarSeg, arXiv 2011.09766: form ``all`` [code]. The other forms, the
    trim, the window and the floor are ours [choice].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.logging import MessageHub
from torch import Tensor, nn

from hsonet_mm.models.losses.functional import fitting, ignored_pixels
from hsonet_mm.registry import MODELS

__all__ = ['ANNEALING', 'EOLoss', 'EOTerms', 'EOWeighting', 'eo_loss', 'eo_weights', 'training_progress']

ANNEALING: dict[str, Callable[[float], float]] = {
    'linear': lambda s: 1 - s,
    'poly': lambda s: (1 - s) ** 0.9,
    'cosine': lambda s: (1 + math.cos(math.pi * s)) / 2,
    'constant': lambda _: 1.0,
}
"""Annealing from 1 at s = 0 to 0 at s = 1 [code]; ``constant`` is plain cross entropy (ablation)."""

Form = Literal['all', 'background', 'top_share']
HARD = 0.5
"""Error above which background counts as hard in the log: it would be called changed [choice]."""
EDGE = 2
"""Distance to the outline of a label, in pixels, within which the log counts the gradient as that of edges."""
LOG_EVERY = 10
"""Iterations between two records of the log."""


@dataclass(frozen=True)
class EOWeighting:
    """How the error of a pixel becomes its weight.

    Args:
        form: ``all`` weighs all pixels by their hardness [code]; ``background`` the background alone, under a
            normaliser of its own, and all foreground alike; ``top_share`` has h = 1 on the largest losses and 0
            elsewhere, after the paper's "distribution of the loss values".
        gamma: focusing exponent of the hardness, >= 0; 0 gives plain weights. Unused by ``top_share``.
        window: side, in pixels and odd, of the window over which errors are averaged, each with those of its own class
            alone, before they become hardness: a missed object or a false alarm stays hard, a pixel of an outline does
            not. 1 averages nothing. Unused by ``top_share``.
        trim: error in (0, 1] above which a pixel counts as mislabelled and its hardness is 0; 1 trims nothing.
        foreground_gain: ``background`` only, > 0: weight of the foreground at zeta = 1, annealed to 1.
        top_share: ``top_share`` only: share of the pixels with a loss above 0 that count as hard, in (0, 1]; each
            process of a distributed training takes its own.

    Raises:
        ValueError: for a value outside of these.
    """

    form: Form = 'all'
    gamma: float = 2.0
    window: int = 1
    trim: float = 1.0
    foreground_gain: float = 1.0
    top_share: float = 0.2

    def __post_init__(self) -> None:
        _require(self.form in get_args(Form), 'form', self.form, f'one of {", ".join(get_args(Form))}')
        _require(self.gamma >= 0, 'gamma', self.gamma, '0 or more')
        _require(self.window > 0 and self.window % 2 == 1, 'window', self.window, 'odd and positive')
        _require(0 < self.trim <= 1, 'trim', self.trim, 'in (0, 1]')
        _require(self.foreground_gain > 0, 'foreground_gain', self.foreground_gain, 'above 0')
        _require(0 < self.top_share <= 1, 'top_share', self.top_share, 'in (0, 1]')


def _require(fits: bool, name: str, value: object, expected: str) -> None:
    if not fits:
        raise ValueError(f'invalid {name} {value!r}: expected {expected}')


class EOTerms(NamedTuple):
    """What an EO-loss consists of; every entry is detached.

    Args:
        weights: w of every pixel, times its pixel weight if there are such; shape of the label, 0 where ignored.
        losses: l of every pixel, times its pixel weight if there are such; 0 where ignored.
        errors: e of every pixel, 0 where ignored.
        foreground: whether the label is a class other than 0.
        normaliser: Z (form ``background``: that of the background), a 0-d tensor.
    """

    weights: Tensor
    losses: Tensor
    errors: Tensor
    foreground: Tensor
    normaliser: Tensor

    def gradient_shares(self) -> dict[str, Tensor]:
        """Shares of the L1 norm of dL/dz: foreground, hard and easy background add up to 1; edges are in all three.

        Background is hard when its error exceeds 0.5. Edges are the pixels within 2 pixels of the outline of a label.
        """
        magnitude = self.weights * self.errors
        total = magnitude.sum().clamp_min(torch.finfo(magnitude.dtype).tiny)
        hard = ~self.foreground & (self.errors > HARD)
        label, size = self.foreground.unsqueeze(1).to(magnitude.dtype), 2 * EDGE + 1
        edge = (F.max_pool2d(label, size, 1, EDGE) + F.max_pool2d(-label, size, 1, EDGE)).squeeze(1) > 0
        parts = {
            'foreground': self.foreground,
            'hard_background': hard,
            'easy_background': ~self.foreground & ~hard,
            'edges': edge,
        }
        return {f'grad_{name}': (magnitude * part).sum() / total for name, part in parts.items()}


def eo_weights(
    losses: Tensor, errors: Tensor, foreground: Tensor, valid: Tensor, zeta: float, weighting: EOWeighting
) -> tuple[Tensor, Tensor]:
    r"""Weights of EO-loss from per-pixel losses and errors, over all processes of a distributed training.

    .. math:: w_i = \zeta + (1 - \zeta) Z h_i, \qquad Z = \sum l \,/ \sum h l

    so that the weighted mean of the losses keeps the value of their plain mean.

    Args:
        losses: l >= 0, 0 where ignored; a pixel weight is already multiplied in.
        errors: e in [0, 1], 0 where ignored.
        foreground: whether the class is not 0.
        valid: whether a pixel counts.
        zeta: annealing value in [0, 1]; 1 gives plain weights.
        weighting: form and constants.

    Shapes:
        All (N, H, W), as the weights that are returned with the normaliser Z, a 0-d tensor.
    """
    hardness = _hardness(losses, errors, foreground, valid, weighting)
    if weighting.form != 'background':
        return _annealed(hardness, losses, zeta)
    weights, normaliser = _annealed(hardness, losses * ~foreground, zeta)
    gain = 1 + (weighting.foreground_gain - 1) * zeta
    weights = torch.where(foreground, gain, weights)
    total, kept = _over_processes(torch.stack([losses.sum(), (weights * losses).sum()]))
    return weights * torch.where(kept > 0, total / kept, 1.0), normaliser


def _hardness(
    losses: Tensor, errors: Tensor, foreground: Tensor, valid: Tensor, weighting: EOWeighting
) -> Tensor:
    """H of every pixel, in [0, 1]."""
    trusted = errors <= weighting.trim
    if weighting.form == 'top_share':
        hard = max(1, round(weighting.top_share * int(losses.count_nonzero())))
        smallest = losses.flatten().topk(min(hard, losses.numel())).values[-1]
        return ((losses >= smallest) & (losses > 0) & trusted).to(losses.dtype)
    if weighting.window > 1:
        errors = _mean_of_class(errors, foreground, valid, weighting.window)
    largest = _over_processes(errors.max(), dist.ReduceOp.MAX).clamp_min(torch.finfo(errors.dtype).tiny)
    return (errors / largest) ** weighting.gamma * trusted


def _mean_of_class(errors: Tensor, foreground: Tensor, valid: Tensor, window: int) -> Tensor:
    """Mean error of the pixels of the same class in the window around each valid pixel; 0 elsewhere."""

    def box(x: Tensor) -> Tensor:
        rows = F.avg_pool2d(x, (window, 1), 1, (window // 2, 0))
        return F.avg_pool2d(rows, (1, window), 1, (0, window // 2))

    smooth = torch.zeros_like(errors)
    for members in (foreground, ~foreground & valid):
        inside = members.to(errors.dtype)
        smooth = torch.where(members, box(errors * inside) / box(inside), smooth)
    return smooth


def _annealed(hardness: Tensor, losses: Tensor, zeta: float) -> tuple[Tensor, Tensor]:
    """W = zeta + (1 - zeta) Z h and Z; w = 1 where no pixel is hard at all."""
    total, hard = _over_processes(torch.stack([losses.sum(), (hardness * losses).sum()]))
    normaliser = torch.where(hard > 0, total / hard, 1.0)
    return torch.where(hard > 0, zeta + (1 - zeta) * normaliser * hardness, 1.0), normaliser


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _over_processes(value: Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
    """Reduce over the processes of a distributed training."""
    if _processes() > 1:
        dist.all_reduce(value, operation)
    return value


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

    The weights are constants to the gradient. The value equals plain cross entropy whatever the weights; only the
    gradient moves. In a distributed training sums go over all processes, so that the mean of their values and gradients
    is that of one process on the whole batch. Everything is computed in float32 or better.

    Args:
        pred: logits; one channel is a sigmoid head, two are a softmax head (z = z_1 - z_0), more are multi-class.
        target: class of every pixel, 0 is background; `ignore_index` where unknown.
        zeta: annealing value in [0, 1].
        weighting: form and constants of the weights; None means form ``all`` with gamma 2.
        weight: weight >= 0 of every pixel, or None.
        ignore_index: label that changes nothing.

    Shapes:
        pred (N, C, H, W), target and weight (N, H, W) or (N, 1, H, W).

    Returns:
        The loss, a 0-d tensor, and what it consists of.

    Raises:
        ValueError: for shapes that do not fit.
        UserError: for labels that `pred` has no class for.

    Example:
        >>> import torch
        >>> pred, target = torch.tensor([[[[-2.0, 2.0]]]]), torch.tensor([[[0, 0]]])
        >>> loss, terms = eo_loss(pred, target, zeta=0.0)
        >>> [round(w, 2) for w in terms.weights.flatten().tolist()]  # the false alarm holds the gradient
        [0.02, 1.06]
    """
    target = fitting(target, pred, 'target')
    valid = ~ignored_pixels(target, ignore_index, classes=max(2, pred.shape[1]))
    with torch.autocast(pred.device.type, enabled=False):
        logits = pred if pred.dtype == torch.float64 else pred.float()
        logits = logits.masked_fill(~valid.unsqueeze(1), 0)  # whatever they were, NaN included
        target = (target * valid).long()
        if pred.shape[1] > 2:
            losses = F.cross_entropy(logits, target, reduction='none')
            errors = -torch.expm1(-losses.detach())
        else:
            z = logits.squeeze(1) if pred.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            against = torch.where(target == 1, -z, z)  # -m
            losses, errors = F.softplus(against), against.detach().sigmoid()
        counted = valid.to(losses.dtype)
        losses, errors = losses * counted, errors * counted
        if weight is not None:
            weight = fitting(weight, pred, 'weight').to(losses.dtype)
            losses = losses * weight
        foreground, constant = target > 0, losses.detach()
        weights, normaliser = eo_weights(
            constant, errors, foreground, valid, zeta, weighting or EOWeighting()
        )
        weights = weights * counted
        n = _over_processes(valid.sum()).clamp_min(1)
        loss = (weights * losses).sum() * _processes() / n
        if weight is not None:
            weights = weights * weight
        return loss, EOTerms(weights, constant, errors, foreground, normaliser)


def running_training(hub_name: str = '') -> MessageHub | None:
    """The message hub of the MMEngine training that runs, or None.

    Args:
        hub_name: name of the hub to ask first. The current hub, which comes next, is that of the runner made last.
    """
    hubs = [MessageHub.get_instance(hub_name)] if MessageHub.check_instance_created(hub_name) else []
    needed = {'iter', 'max_iters', 'loop_stage'}  # the last is there while a loop runs
    return next(
        (hub for hub in (*hubs, MessageHub.get_current_instance()) if needed <= hub.runtime_info.keys()), None
    )


def training_progress(hub_name: str = '') -> float:
    """Share of the running MMEngine training that is done, in [0, 1), see :func:`running_training`.

    Raises:
        RuntimeError: outside a training of MMEngine.
    """
    hub = running_training(hub_name)
    if hub is None:
        raise RuntimeError(
            'EOLoss cannot know the training progress outside an MMEngine training: pass progress=... (0 at the '
            "start, 1 at the end) or use schedule='constant'"
        )
    return float(hub.get_info('iter') / hub.get_info('max_iters'))


@MODELS.register_module()
class EOLoss(nn.Module):
    r"""Cross entropy that moves from all pixels to the hard ones as training goes on, see :func:`eo_loss`.

    With :math:`\zeta` annealed from 1, early most hard pixels are foreground; once the foreground is learnt they are
    hard background: shadows, seasons, pseudo-changes. That a dynamic weight moves the optimisation this way is the
    paper's [paper]; the equation of form ``all`` is FarSeg's [code]; the rest is ours [choice].

    The value equals plain cross entropy at every zeta, so a loss curve cannot show the schedule. ``<name>_zeta``,
    ``<name>_Z`` and the shares of the gradient, see :meth:`EOTerms.gradient_shares`, are therefore written to the
    training log every 10 iterations (``eo_zeta`` ... for the default name).

    Heads with one channel (sigmoid), two channels (softmax) and more classes (class 0 is background) all work.

    Args:
        form: which pixels are weighed, see :class:`EOWeighting`, as for the next five.
        gamma: focusing exponent of the hardness.
        window: side of the window over which errors are averaged, in pixels.
        trim: error above which a pixel counts as mislabelled.
        foreground_gain: of form ``background``.
        top_share: of form ``top_share``.
        schedule: annealing of zeta: ``linear``, ``poly`` (power 0.9), ``cosine`` or ``constant`` (plain cross entropy).
        begin: share of the training before which zeta is 1, in [0, 1).
        end: share of the training after which zeta is `floor`, in (begin, 1]; FarSeg's is 1/6.
        floor: zeta at the end, in [0, 1]: what easy pixels keep of their weight.
        loss_weight: factor on the loss.
        loss_name: its name in the log; must begin with ``loss`` to be optimised. Two of one name, as in a main and an
            auxiliary head, overwrite each other's scalars: name the second one ``loss_aux_eo``.

    Raises:
        ValueError: for a value outside of these.

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
        trim: float = 1.0,
        foreground_gain: float = 1.0,
        top_share: float = 0.2,
        schedule: str = 'cosine',
        begin: float = 0.0,
        end: float = 1.0,
        floor: float = 0.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_eo',
    ) -> None:
        super().__init__()
        _require(schedule in ANNEALING, 'schedule', schedule, f'one of {", ".join(ANNEALING)}')
        _require(0 <= begin < 1, 'begin', begin, 'in [0, 1)')
        _require(begin < end <= 1, 'end', end, f'above begin={begin} and at most 1')
        _require(0 <= floor <= 1, 'floor', floor, 'in [0, 1]')
        self.weighting = EOWeighting(form, gamma, window, trim, foreground_gain, top_share)
        self.schedule, self.begin, self.end, self.floor = schedule, begin, end, floor
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        # A runner makes its hub before its model, so the current one is its own.
        self._hub_name = MessageHub.get_current_instance().instance_name

    def zeta(self, progress: float) -> float:
        """Annealing value at a training progress in [0, 1]; progress outside is clamped."""
        s = min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.floor + (1 - self.floor) * ANNEALING[self.schedule](s)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        progress: float | None = None,
        reduction_override: str | None = None,
        **_: object,
    ) -> Tensor:
        """EO-loss of a batch.

        Args:
            pred: logits.
            target: class of every pixel.
            weight: weight of every pixel, or None.
            ignore_index: label that changes nothing.
            progress: training progress in [0, 1]; None reads it from the running MMEngine training.
            reduction_override: 'none' for the plain loss of every pixel, by which MMSegmentation's
                ``OHEMPixelSampler`` chooses; nothing else changes anything.

        Shapes:
            pred (N, C, H, W), target and weight (N, H, W) or (N, 1, H, W); returns a 0-d tensor, or (N, H, W).

        Raises:
            ValueError: for shapes or labels that do not fit `pred`.
            RuntimeError: without `progress` outside a training of MMEngine (unless the schedule is constant).
        """
        if progress is None:
            progress = 0.0 if self.schedule == 'constant' else training_progress(self._hub_name)
        zeta = self.zeta(progress)
        loss, terms = eo_loss(pred, target, zeta, self.weighting, weight, ignore_index)
        if reduction_override == 'none':
            return self.loss_weight * terms.losses
        if self.training and (hub := running_training(self._hub_name)) is not None:
            iteration = hub.get_info('iter')
            if iteration == 0 or (iteration + 1) % LOG_EVERY == 0:
                self._log(hub, {'zeta': zeta, 'Z': terms.normaliser, **terms.gradient_shares()})
        return self.loss_weight * loss

    def _log(self, hub: MessageHub, scalars: dict[str, float | Tensor]) -> None:
        """Publish scalars where MMEngine's loggers and TensorBoard find them."""
        name = self.loss_name.removeprefix('loss_')
        for key, value in scalars.items():
            hub.update_scalar(f'train/{name}_{key}', float(value))

    def extra_repr(self) -> str:
        """Constants for printing the model."""
        schedule = (f'{name}={getattr(self, name)!r}' for name in ('schedule', 'begin', 'end', 'floor'))
        return f'{self.weighting}, {", ".join(schedule)}'
