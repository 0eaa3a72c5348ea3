"""Training from a config."""

import logging
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner

from hsonet_mm.checkpoints import Checkpoint, load_weights, read_checkpoint
from hsonet_mm.config import set_up_loaders
from hsonet_mm.engine.checkpoint_hook import ChangeCheckpointHook
from hsonet_mm.engine.start import StartHook, checkpoint_to_resume
from hsonet_mm.engine.trackers import check_trackers
from hsonet_mm.errors import UserError

__all__ = ['chosen_by', 'end_workers', 'train']


def train(cfg: Config) -> Runner:
    """Train a config.

    Raises:
        UserError: if the head's classes are not those of the data set, the checkpoint to go on from cannot be used or
            is not one of this model, a package is missing, or the best checkpoint is to be chosen by a figure that
            validation does not report.
    """
    set_up_loaders(cfg, 'train', 'val')
    check_trackers(cfg)
    resumed, start = _set_start(cfg)
    runner = Runner.from_cfg(cfg)
    runner.logger.addFilter(_is_worth_a_line)
    _check_optimizer(cfg)
    _check_classes(runner)
    if resumed is not None:
        load_weights(getattr(runner.model, 'module', runner.model), resumed)
    if start is not None:
        runner.register_hook(start)
    try:
        runner.train()
    except KeyError as error:
        if error.args[0] not in chosen_by(runner):
            raise
        figures = [name[4:] for name in runner.message_hub.log_scalars if name.startswith('val/')]
        raise UserError(
            f'invalid save_best {error.args[0]!r} in {cfg.filename}: expected a value that validation '
            'reports for default_hooks.checkpoint.save_best, one of '
            f'{", ".join(name for name in figures if not name.endswith("time"))}'
        ) from error
    finally:
        end_workers(runner)
    return runner


def chosen_by(runner: Runner) -> Sequence[str]:
    """The validation scores that select the best checkpoint, usually one."""
    hooks = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and hook.save_best)
    return next(
        (hook.figures if isinstance(hook, ChangeCheckpointHook) else hook.key_indicators for hook in hooks),
        (),
    )


def end_workers(runner: Any) -> None:
    """End the processes of a runner's data loaders.

    Left to the garbage collector, which closes the queue that would tell them to end, PyTorch waits five seconds for
    each, stops it, and may take that for a failure: ``DataLoader worker is killed by signal: Terminated``.

    Args:
        runner: A ``Runner`` that has done its work; it may go on to use its loaders.
    """
    for loop in (getattr(runner, f'_{name}_loop', None) for name in ('train', 'val', 'test')):
        holders: list[Any] = [getattr(loop, name, None) for name in ('dataloader_iterator', 'dataloader')]
        for holder in holders:
            iterator: Any = getattr(holder, '_iterator', None)
            if hasattr(iterator, '_shutdown_workers'):
                iterator._shutdown_workers()
                holder._iterator = None


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether a message is not one of MMEngine's hundreds of lines about the options of each parameter."""
    return not record.getMessage().startswith('paramwise_options')


def _check_optimizer(cfg: Config) -> None:
    """Raise MMEngine's usual error for an unknown optimiser, for which it only reports that None is not callable."""
    name = cfg.optim_wrapper.get('optimizer', {}).get('type')
    if isinstance(name, str) and OPTIMIZERS.get(name) is None:
        raise KeyError(f'{name} is not in the optimizer registry')


def _check_classes(runner: Runner) -> None:
    """Compare the heads' classes with the data set's before anything is trained."""
    classes = runner.train_dataloader.dataset.metainfo.get('classes')
    head = getattr(getattr(runner.model, 'module', runner.model), 'decode_head', None)
    num_classes = getattr(head, 'num_classes', None)
    if classes and num_classes is not None and num_classes != len(classes):
        raise UserError(
            f'model.decode_head.num_classes is {num_classes}, but the data set has {len(classes)} classes '
            f'({", ".join(classes)}): set num_classes={len(classes)}'
        )


def _set_start(cfg: Config) -> tuple[Checkpoint | None, StartHook | None]:
    """Decide what a training starts from, and set it in the config.

    A training that was interrupted is past its start: ``--init-from`` and ``load_from`` do not count for it.
    """
    init_from = cfg.pop('init_from', None)
    if cfg.get('resume') and (checkpoint := checkpoint_to_resume(cfg)):
        cfg.load_from, cfg.resume = str(checkpoint.path), True
        if cfg.setdefault('randomness', {}).get('seed') is None:  # else it would be another at each start
            cfg.randomness['seed'] = checkpoint.meta.get('seed')
        return checkpoint, None
    cfg.resume = False
    if init_from is not None:
        cfg.load_from = None
        return None, StartHook(read_checkpoint(init_from), partly=True)
    path = cfg.get('load_from')
    if path is None or '://' in path:  # MMEngine downloads it
        return None, None
    cfg.load_from = None
    return None, StartHook(read_checkpoint(path), partly=False)
