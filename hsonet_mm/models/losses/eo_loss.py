"""EO-loss, the third part of HSONet, as a loss of MMSegmentation's decode heads."""

from mmengine.logging import MessageHub
from torch import Tensor, nn

from hsonet_mm.models.losses.functional import Form, Weighing, eo_loss
from hsonet_mm.models.losses.schedule import SCHEDULES, optimiser_step, running_hub, training_progress
from hsonet_mm.registry import MODELS

__all__ = ['EOLoss']

LOG_EVERY = 10


@MODELS.register_module()
class EOLoss(nn.Module):
    r"""Cross entropy that moves from all pixels to the hard ones as training goes on.

    .. math:: L = \frac{1}{n} \sum_i w_i l_i, \quad w_i = \zeta + (1 - \zeta) Z h_i, \quad
              h_i = \Big(\frac{e_i}{\max e}\Big)^\gamma

    with the loss :math:`l_i` and error :math:`e_i = 1 - p_{y_i}` of pixel i, the normaliser
    :math:`Z = \sum l / \sum h l` and :math:`\zeta` annealed from 1 to 0. Early, most hard pixels are foreground; once
    the foreground is learnt they are hard background: shadows, seasons, pseudo-changes. That a dynamic weight moves the
    optimisation this way is the paper's [paper]; the equation is FarSeg's [code]; defaults are ours [choice].

    The value equals plain cross entropy at every zeta, so a loss curve cannot show the schedule. ``<name>_zeta``,
    ``<name>_Z`` and the shares of the gradient that foreground, hard and easy background hold are therefore written
    to the training log every 10 iterations (``eo_zeta`` ... for the default name).

    Heads with one channel (sigmoid), two channels (softmax) and more classes (class 0 is background) all work.

    Args:
        gamma: focusing exponent, >= 0; 0 is plain cross entropy.
        schedule: annealing of zeta: ``linear``, ``poly`` (power 0.9), ``cosine`` or ``constant`` (plain cross entropy).
        schedule_fraction: share of the training after which zeta is 0, in (0, 1]; FarSeg's is 1/6.
        form: ``A`` [code], ``B`` or ``C`` [choice], see :class:`~hsonet_mm.models.losses.functional.Weighing`.
        foreground_gain: form B only: weight of the foreground at the start, annealed to 1; 1 emphasises nothing.
        top_share: form C only: share of the pixels with a loss above 0 that count as hard.
        loss_weight: factor on the loss.
        loss_name: its name in the log; must begin with ``loss`` to be optimised. Two of one name, as in a main and an
            auxiliary head, overwrite each other's scalars: name the second one ``loss_aux_eo``.

    References:
        HSONet, arXiv 2402.16242; FarSeg, arXiv 2011.09766.

    Example:
        >>> import torch
        >>> loss = EOLoss()
        >>> pred, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
        >>> round(float(loss(pred, target, progress=0.5)), 4)
        0.6931
    """

    def __init__(
        self,
        gamma: float = 2.0,
        schedule: str = 'cosine',
        schedule_fraction: float = 1.0,
        form: Form = 'A',
        foreground_gain: float = 1.0,
        top_share: float = 0.2,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_eo',
    ) -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            raise ValueError(f'schedule must be one of {", ".join(SCHEDULES)}, not {schedule!r}')
        if not 0 < schedule_fraction <= 1:
            raise ValueError(f'schedule_fraction must be in (0, 1], not {schedule_fraction}')
        self.weighing = Weighing(form, gamma, foreground_gain, top_share)
        self.schedule = schedule
        self.schedule_fraction = schedule_fraction
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        # A runner makes its hub before its model, so the current one is its own.
        self._hub_name = MessageHub.get_current_instance().instance_name

    def zeta(self, progress: float) -> float:
        """Annealing value at a training progress in [0, 1]; progress outside is clamped."""
        return SCHEDULES[self.schedule](min(max(progress / self.schedule_fraction, 0.0), 1.0))

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
        loss, terms = eo_loss(pred, target, zeta, self.weighing, weight, ignore_index)
        if reduction_override == 'none':
            return self.loss_weight * terms.losses
        if self.training and (hub := running_hub(self._hub_name)) is not None:
            step = optimiser_step(hub)[0]
            if step == 0 or (step + 1) % LOG_EVERY == 0:
                self._log(hub, {'zeta': zeta, 'Z': terms.normaliser, **terms.gradient_shares()})
        return self.loss_weight * loss

    def _log(self, hub: MessageHub, scalars: dict[str, float | Tensor]) -> None:
        """Publish scalars where MMEngine's loggers and TensorBoard find them."""
        name = self.loss_name.removeprefix('loss_')
        for key, value in scalars.items():
            hub.update_scalar(f'train/{name}_{key}', float(value))

    def extra_repr(self) -> str:
        """Constants for printing the model."""
        return f'{self.weighing}, schedule={self.schedule!r}, schedule_fraction={self.schedule_fraction}'
