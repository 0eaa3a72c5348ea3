"""``hsonet train``: train a config."""

import argparse
import shlex
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from hsonet_mm import components  # noqa: F401
from hsonet_mm.checkpoints import read_checkpoint
from hsonet_mm.config import add_config_arguments, load_config, set_iterations
from hsonet_mm.engine.mixed_precision import PRECISIONS, set_precision
from hsonet_mm.engine.snapshot_hook import keep_snapshots
from hsonet_mm.engine.start import AUTO
from hsonet_mm.engine.trackers import TRACKERS, add_tracker
from hsonet_mm.engine.training import chosen_by, train
from hsonet_mm.labels import value_text
from hsonet_mm.texts import counted

__all__ = ['add_arguments', 'run']

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
        help='resume from this checkpoint; without PATH from the newest in the work directory; if there is none, '
        'start as without this option',
    )
    parser.add_argument(
        '--init-from',
        type=Path,
        metavar='PATH',
        help='start from the weights of this checkpoint that fit, and list those that do not',
    )
    parser.add_argument(
        '--iters', type=int, help='length of the whole run in iterations; schedules are scaled to it'
    )
    parser.add_argument(
        '--validations',
        type=int,
        help='number of validations, evenly spaced, each with a checkpoint [about that of the config]',
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
        help='mixed precision: auto (what the device computes fast; also if no value is given), bf16, fp16 (GPUs), off '
        '[as in the config, usually off]',
    )
    for package, (_, name) in TRACKERS.items():
        parser.add_argument(f'--{package}', action='store_true', help=f'also log to {name}')


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet train``; returns the exit code."""
    cfg = load_config(args)
    if args.resume is not None:
        cfg.resume = args.resume or AUTO
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


def _next_command(tool: str, args: argparse.Namespace, checkpoint: str) -> str:
    """The command to test or calibrate a checkpoint, with the options that it shares with the training."""
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
    lines = [f'Trained {counted(runner.iter, "iteration")}; log and checkpoints are in {runner.work_dir}']
    if best := info.get('best_ckpt'):
        (figure,) = chosen_by(runner)
        threshold = read_checkpoint(best).threshold
        at = '' if threshold is None else f' at threshold {threshold[0]:.3f}, which it carries'
        lines.append(
            f'Best on validation: {best} ({FIGURES.get(figure, figure)} {info["best_score"]:.4f}{at})'
        )
        lines.append(f'Test it: {_next_command("test", args, best)}')
        if figure in FIGURES:
            lines.append(f'Calibrate its probabilities: {_next_command("calibrate", args, best)}')
    return '\n'.join(lines)
