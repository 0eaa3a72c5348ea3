"""Schedules of a resumed training: they follow the current config, not the one it began with."""

import warnings
from typing import Any

from mmengine.optim import OptimWrapperDict

__all__ = ['follow_config']

PROGRESS = {'last_step', '_global_step', '_last_value'}
"""What the state of a scheduler says about how far it is; the rest says what it is."""


def follow_config(runner: Any) -> None:
    """Set a resumed training to the state of its config's schedules at this iteration.

    MMEngine restores schedules from the checkpoint whatever the config says, so that a training that was resumed for
    more iterations goes on at the learning rate of its end, mostly 0. Where learning rate, length or kind of schedules
    differ, they are built from the config and stepped to this iteration; otherwise nothing changes. A config without
    schedules has the learning rate of its optimiser.
    """
    restored, optimizer = runner.param_schedulers or [], runner.optim_wrapper
    if (
        isinstance(optimizer, OptimWrapperDict)
        or isinstance(restored, dict)
        or any(hasattr(one, 'need_val_args') for one in restored)
    ):
        return  # several optimisers, or a schedule that depends on validations: as MMEngine restored them
    rates = [group['lr'] for group in optimizer.param_groups]
    fresh = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    runner.param_schedulers = []  # with some MMEngine scales no learning rate
    runner.scale_lr(fresh, runner.auto_scale_lr)
    runner.param_schedulers = restored
    for group, wanted in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        group['lr'] = group['initial_lr'] = wanted['lr']
    wanted_schedules = runner.cfg.get('param_scheduler')
    schedulers = runner.build_param_scheduler(wanted_schedules) if wanted_schedules else []
    if schedulers and [_kind(one) for one in schedulers] == [_kind(one) for one in restored]:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group['lr'] = rate
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # PyTorch's advice to step the optimiser before its schedules
        for _ in range(runner.iter):
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
    runner.param_schedulers = schedulers
    if not restored and rates == [group['lr'] for group in optimizer.param_groups]:
        return
    lengths = ', '.join(f'{type(one).__name__} to iteration {one.end}' for one in schedulers) or 'none'
    runner.logger.warning(
        f'The schedules are not those of the checkpoint; they follow the config from here ({lengths}; learning rate '
        f'{rates[0]:.3g} before, {optimizer.param_groups[0]["lr"]:.3g} now)'
    )


def _kind(scheduler: Any) -> tuple[type, dict[str, Any]]:
    """The settings of a scheduler without its progress."""
    state = scheduler.state_dict()
    return type(scheduler), {key: value for key, value in state.items() if key not in PROGRESS}
