"""``hsonet train``: train a config."""

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner, find_latest_checkpoint

from hsonet_mm.config import add_config_arguments, load_config, set_iterations
from hsonet_mm.errors import UserError
from hsonet_mm.inference.checkpoints import load_weights

__all__ = ['add_arguments', 'run', 'train']

FIGURES = {'changed/f1': 'changed F1'}
"""What figures are called in the terminal, where not by their name in the log."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet train``."""
    add_config_arguments(parser)
    parser.add_argument(
        '--resume', action='store_true', help='go on from the latest checkpoint of the work dir'
    )
    parser.add_argument(
        '--iters', type=int, help='iterations of the training, to which its schedules stretch'
    )
    parser.add_argument(
        '--validations',
        type=int,
        help='how often to validate and save a checkpoint, evenly spaced [about as often as the config does]',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (needs a GPU)')
    parser.add_argument('--tensorboard', action='store_true', help='also write the log for TensorBoard')


def run(args: argparse.Namespace) -> int:
    """Train as the command line says; returns the exit code."""
    cfg = load_config(args)
    cfg.resume = args.resume or cfg.get('resume', False)
    if args.iters is not None or args.validations is not None:
        set_iterations(cfg, args.iters, args.validations)
    if args.amp:
        _use_mixed_precision(cfg)
    if args.tensorboard:
        _use_tensorboard(cfg)
    runner = train(cfg)
    if is_main_process():
        print(_summary(runner, args))
    return 0


def train(cfg: Config) -> Runner:
    """Train a config.

    Raises:
        UserError: if the head's classes are not those of the data set, the checkpoint to go on from is not one of
            this model, or the best checkpoint is to be chosen by a figure that validation does not report.
    """
    runner = Runner.from_cfg(cfg)
    _check_optimizer(cfg)
    _check_classes(runner)
    _check_start(runner, cfg)
    try:
        runner.train()
    except KeyError as error:
        if error.args[0] not in _chosen_by(runner):
            raise
        figures = [name[4:] for name in runner.message_hub.log_scalars if name.startswith('val/')]
        raise UserError(
            f'the config {cfg.filename} keeps the checkpoint with the best {error.args[0]!r}, which validation does '
            f'not report: set default_hooks.checkpoint.save_best to one of '
            f'{", ".join(name for name in figures if not name.endswith("time"))}'
        ) from error
    return runner


def _chosen_by(runner: Runner) -> Sequence[str]:
    """The figures by which the best checkpoint is chosen, mostly one."""
    hooks = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    return next((hook.key_indicators for hook in hooks if hook.save_best), ())


def _check_optimizer(cfg: Config) -> None:
    """Say what MMEngine says of any other unknown type; of an optimiser it says that None is not callable."""
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


def _check_start(runner: Runner, cfg: Config) -> None:
    """Refuse a checkpoint of another model, of which MMEngine would load what happens to fit."""
    path = cfg.get('load_from') or (find_latest_checkpoint(runner.work_dir) if cfg.get('resume') else None)
    if path is not None and '://' not in path:
        load_weights(getattr(runner.model, 'module', runner.model), path)


def _next_command(tool: str, args: argparse.Namespace, checkpoint: str) -> str:
    """The command that tests or calibrates a checkpoint, with the options of the training that it needs as well."""
    command = ['hsonet', tool, str(args.config), checkpoint]
    options = {'--data-root': args.data_root, '--work-dir': args.work_dir if tool == 'test' else None}
    for option, value in options.items():
        command += [option, str(value)] if value is not None else []
    if args.cfg_options:
        command += ['--cfg-options', *(f'{key}={value}' for key, value in args.cfg_options.items())]
    return shlex.join(command)


def _use_mixed_precision(cfg: Config) -> None:
    if not torch.cuda.is_available():
        raise UserError(
            '--amp needs a GPU and none is found: leave it out, full precision is as fast on a CPU'
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def _use_tensorboard(cfg: Config) -> None:
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise UserError('--tensorboard needs TensorBoard: pip install "hsonet_mm[tensorboard]"') from None
    cfg.setdefault('visualizer', {'type': 'Visualizer'})
    cfg.visualizer.setdefault('vis_backends', [{'type': 'LocalVisBackend'}])
    cfg.visualizer.vis_backends.append({'type': 'TensorboardVisBackend'})


def _summary(runner: Runner, args: argparse.Namespace) -> str:
    best: Any = runner.message_hub.runtime_info.get('best_ckpt')
    lines = [f'Trained {runner.iter} iterations; log and checkpoints are in {runner.work_dir}']
    if best:
        score = runner.message_hub.runtime_info.get('best_score')
        (figure,) = _chosen_by(runner)
        lines.append(f'Best on validation: {best} ({FIGURES.get(figure, figure)} {score:.4f})')
        lines.append(f'Test it: {_next_command("test", args, best)}')
        if figure in FIGURES:
            lines.append(f'Choose its threshold on validation: {_next_command("calibrate", args, best)}')
    return '\n'.join(lines)
