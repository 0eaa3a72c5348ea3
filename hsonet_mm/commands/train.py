"""``hsonet train``: train a config."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner

from hsonet_mm import components  # noqa: F401
from hsonet_mm.config import add_config_arguments, load_config, set_iterations, set_up_loaders
from hsonet_mm.engine.checkpoint_hook import ChangeCheckpointHook
from hsonet_mm.engine.mixed_precision import PRECISIONS, set_precision
from hsonet_mm.engine.snapshot_hook import keep_snapshots
from hsonet_mm.engine.start import StartHook, checkpoint_to_resume
from hsonet_mm.engine.trackers import TRACKERS, add_tracker, check_trackers
from hsonet_mm.errors import UserError
from hsonet_mm.inference.checkpoints import Checkpoint, load_weights, read_checkpoint
from hsonet_mm.labels import value_text

__all__ = ['add_arguments', 'run', 'train']

FIGURES = {'changed/f1': 'changed F1', 'changed/best_f1': 'changed F1'}
"""What figures are called in the terminal, where not by their name in the log."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet train``."""
    add_config_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='',
        metavar='PATH',
        help='go on from this checkpoint [the newest one of the work dir, from scratch where there is none]',
    )
    parser.add_argument(
        '--init-from',
        type=Path,
        metavar='PATH',
        help='start from the weights of this checkpoint that fit, and list those that do not',
    )
    parser.add_argument(
        '--iters', type=int, help='iterations of the training, to which its schedules stretch'
    )
    parser.add_argument(
        '--validations',
        type=int,
        help='how often to validate and save a checkpoint, evenly spaced [about as often as the config does]',
    )
    parser.add_argument(
        '--snapshots',
        type=int,
        metavar='N',
        help='also keep the weights of N evenly spaced iterations, for hsonet explain --work-dir',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=PRECISIONS,
        help='mixed precision: auto (also without a value; what the device computes fast), bf16, fp16 (GPUs), off '
        '[as in the config, mostly off]',
    )
    for package, (_, name) in TRACKERS.items():
        parser.add_argument(f'--{package}', action='store_true', help=f'also write the log for {name}')


def run(args: argparse.Namespace) -> int:
    """Train as the command line says; returns the exit code."""
    cfg = load_config(args)
    if args.resume is not None:
        cfg.resume, cfg.load_from = True, args.resume or None
    if args.init_from is not None:
        cfg.init_from = str(args.init_from)
    if args.iters is not None or args.validations is not None:
        set_iterations(cfg, args.iters, args.validations)
    if args.snapshots is not None:
        keep_snapshots(cfg, args.snapshots)
    if args.amp:
        set_precision(cfg, args.amp)
    for package in TRACKERS:
        if getattr(args, package):
            add_tracker(cfg, package)
    runner = train(cfg)
    if is_main_process():
        print(_summary(runner, args))
    return 0


def train(cfg: Config) -> Runner:
    """Train a config.

    Raises:
        UserError: if the head's classes are not those of the data set, the checkpoint to go on from cannot be used or
            is not one of this model, a package is missing, or the best checkpoint is to be chosen by a figure that
            validation does not report.
    """
    set_up_loaders(cfg)
    check_trackers(cfg)
    resumed, start = _set_start(cfg)
    runner = Runner.from_cfg(cfg)
    _check_optimizer(cfg)
    _check_classes(runner)
    if resumed is not None:
        load_weights(getattr(runner.model, 'module', runner.model), resumed)
    if start is not None:
        runner.register_hook(start)
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
    hooks = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and hook.save_best)
    return next(
        (hook.figures if isinstance(hook, ChangeCheckpointHook) else hook.key_indicators for hook in hooks),
        (),
    )


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


def _set_start(cfg: Config) -> tuple[Checkpoint | None, StartHook | None]:
    """Decide what a training starts from; the config then says so to MMEngine.

    A training that was interrupted is past its start: ``--init-from`` and ``load_from`` do not count for it.

    Returns:
        The checkpoint to go on from, and the hook that loads other weights.
    """
    init_from = cfg.pop('init_from', None)
    if cfg.get('resume') and (checkpoint := checkpoint_to_resume(cfg)):
        cfg.load_from = str(checkpoint.path)
        if cfg.setdefault('randomness', {}).get('seed') is None:  # else it would be another at each start
            cfg.randomness['seed'] = checkpoint.meta.get('seed')
        return checkpoint, None
    cfg.resume = False
    if init_from is not None:
        cfg.load_from = None
        return None, StartHook(init_from, partly=True)
    path = cfg.get('load_from')
    if path is None or '://' in path:  # MMEngine downloads it
        return None, None
    cfg.load_from = None
    return None, StartHook(path, partly=False)


def _next_command(tool: str, args: argparse.Namespace, checkpoint: str) -> str:
    """The command that tests or calibrates a checkpoint, with the options of the training that it needs as well."""
    command = ['hsonet', tool, str(args.config), checkpoint]
    options = {'--data-root': args.data_root, '--work-dir': args.work_dir if tool == 'test' else None}
    for option, value in options.items():
        command += [option, str(value)] if value is not None else []
    for option, values in (('--changed-values', args.changed_values), ('--ignore-value', args.ignore_value)):
        command += [option, *map(value_text, values)] if values else []
    if args.cfg_options:
        command += ['--cfg-options', *(f'{key}={value}' for key, value in args.cfg_options.items())]
    return shlex.join(command)


def _summary(runner: Runner, args: argparse.Namespace) -> str:
    info = runner.message_hub.runtime_info
    lines = [f'Trained {runner.iter} iterations; log and checkpoints are in {runner.work_dir}']
    if best := info.get('best_ckpt'):
        (figure,) = _chosen_by(runner)
        threshold = read_checkpoint(best).threshold
        at = '' if threshold is None else f' at threshold {threshold[0]:.3f}, which it carries'
        lines.append(
            f'Best on validation: {best} ({FIGURES.get(figure, figure)} {info["best_score"]:.4f}{at})'
        )
        lines.append(f'Test it: {_next_command("test", args, best)}')
        if figure in FIGURES:
            lines.append(f'Calibrate its probabilities: {_next_command("calibrate", args, best)}')
    return '\n'.join(lines)
