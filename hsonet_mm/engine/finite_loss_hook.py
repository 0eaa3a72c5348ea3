"""A hook that stops training when a loss is not finite, and names the iteration."""

import math
from typing import Any

import torch
from mmengine.hooks import Hook

from hsonet_mm.errors import UserError
from hsonet_mm.registry import HOOKS

__all__ = ['FiniteLossHook']


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at the first iteration whose loss is NaN or infinite, naming the iteration and the images.

    It runs before the checkpoint hook and checks the weights to be saved, so the last checkpoint never contains weights
    that are not finite.
    """

    priority = 'VERY_HIGH'

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Check the losses of the iteration, first their sum, because reading a number waits for the GPU."""
        del batch_idx
        losses = {
            name: loss.detach() if isinstance(loss, torch.Tensor) else loss
            for name, loss in (outputs or {}).items()
            if 'loss' in name
        }
        if math.isfinite(sum(losses.values())):
            return
        for name, loss in losses.items():
            if not math.isfinite(value := float(loss)):
                paths = [sample.get('img_path', '?') for sample in data_batch['data_samples']]
                images = [path if isinstance(path, str) else path[0] for path in paths]
                raise UserError(
                    f'{name} is {value} at iteration {runner.iter + 1}: check the batch '
                    f'{", ".join(map(str, images))}, lower the learning rate or clip gradients '
                    '(optim_wrapper.clip_grad), and resume from the last checkpoint with --resume'
                )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:  # noqa: ARG002
        """Check the weights, because an update after a finite loss can make them infinite or NaN."""
        for name, weight in checkpoint['state_dict'].items():
            if not weight.isfinite().all():
                iteration = checkpoint['meta']['iter']
                raise UserError(
                    f'{name} contains values that are not finite after iteration {iteration}, so no '
                    'checkpoint is written: lower the learning rate or clip gradients '
                    '(optim_wrapper.clip_grad), and resume from the last checkpoint with --resume'
                )
