"""Reading a config for the command line, with the options that all commands share."""

import argparse
import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from inspect import signature
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from mmengine import fileio
from mmengine.config import Config
from mmengine.runner import Runner

from hsonet_mm.bands import DATA_SETS, LOADERS, config_reading, parts, set_reading, walk
from hsonet_mm.errors import UserError
from hsonet_mm.images import add_reading_arguments, reading_of
from hsonet_mm.labels import add_label_arguments
from hsonet_mm.overrides import add_cfg_options

__all__ = [
    'add_config_arguments',
    'add_data_arguments',
    'check_root',
    'declare_labels',
    'expand_variables',
    'load_config',
    'merge_options',
    'parse_config',
    'read_config',
    'set_iterations',
    'set_up_loaders',
    'set_up_processes',
    'short_hash',
]

_KNOWN = {
    *signature(Runner.__init__).parameters,
    *('activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval'),
    *('find_unused_parameters', 'model_wrapper_cfg', 'tta_model', 'tta_pipeline'),
} - {'self', 'cfg'}
"""Keys of a config that MMEngine and MMSegmentation read."""
_VARIABLE = re.compile(r'\$\{(\w+)(?::-([^}]*))?\}')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every command that runs a config."""
    parser.add_argument('config', type=Path, help='config file')
    parser.add_argument('--work-dir', type=Path, help='folder of logs and checkpoints [work_dirs/CONFIG]')
    add_data_arguments(parser)
    parser.add_argument('--seed', type=int, help='random seed, in place of the one in the config')
    add_cfg_options(parser, 'other changes to the config, e.g. train_dataloader.batch_size=4')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='launcher of several processes (pytorch: torchrun)',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    add_reading_arguments(parser, 'as in the config')


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-root`` and how labels are coded, see :func:`declare_labels`."""
    parser.add_argument('--data-root', help='folder of the data set, in place of the one in the config')
    add_label_arguments(parser)


def read_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config file; ``options`` replace values in it, by dotted keys."""
    if not Path(path).is_file():
        raise UserError(
            f'the config {path} does not exist: give the path of a config file, such as configs/hsonet_levir.py'
        )
    cfg = parse_config(path, f'the config {path}')
    try:
        merge_options(cfg, options or {})
    except ValueError as error:
        raise UserError(f'--cfg-options do not fit {path} ({error}): check the names in it') from error
    return cfg


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Replace values of a config, by dotted keys.

    MMEngine adds what the config lacks, so that a misspelt key would go unnoticed.

    Raises:
        ValueError: if an option does not fit; its first key must be one of the config, or one that MMEngine knows.
    """
    for name in options:
        first = name.split('.')[0]
        if first not in cfg and first not in _KNOWN:
            [*similar] = difflib.get_close_matches(first, [*cfg, *_KNOWN], 1, 0.75)
            meant = f'; did you mean {similar[0]}?' if similar else ''
            raise ValueError(f'{first} is not a key of the config{meant}')
    try:
        cfg.merge_from_dict(dict(options))
    except (KeyError, TypeError, AssertionError, IndexError) as error:
        raise ValueError(str(error)) from error


def parse_config(path: str | Path, name: str) -> Config:
    """Read an existing config file; ``name`` is its name in messages."""
    try:
        return Config.fromfile(str(path))
    except Exception as error:  # a config is a program: anything can happen
        if 'inheritance chain' in str(error):
            raise UserError(
                f'{name} and the one it inherits are of two kinds, with _base_ and with read_base(), which MMEngine '
                'does not mix: inherit those of this project with '
                '`with read_base(): from hsonet_mm.configs.NAME import *`'
            ) from error
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        raise UserError(f'{name} cannot be read ({reason}): correct it') from error


def short_hash(content: Any) -> str:
    """The first 12 digits of the SHA-256 of a part of a config, or of any other value that :mod:`json` can express."""
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the options of the command line."""
    cfg = read_config(args.config, args.cfg_options)
    if args.data_root is not None:
        for loader in LOADERS:
            if cfg.get(loader) is not None:
                cfg[loader].dataset.data_root = args.data_root
    declare_labels(cfg, args)
    reading, _ = reading_of(args).over(config_reading(cfg))
    set_reading(cfg, reading)
    if args.seed is not None:
        if not 0 <= args.seed < 2**32:
            raise UserError(f'invalid --seed {args.seed}: expected 0 to {2**32 - 1}')
        cfg.randomness = {**cfg.get('randomness', {}), 'seed': args.seed}
    cfg.work_dir = str(args.work_dir or cfg.get('work_dir') or Path('work_dirs') / args.config.stem)
    set_up_processes(cfg, args)
    return cfg


def declare_labels(cfg: Config, args: argparse.Namespace) -> None:
    """Apply ``--changed-values`` and ``--ignore-value`` to all label loaders of a config, in place."""
    given = {
        key: [list(value) if isinstance(value, tuple) else value for value in values]
        for key, values in (('changed_values', args.changed_values), ('ignore_value', args.ignore_value))
        if values is not None
    }
    if not given:
        return
    loaders = parts(cfg, 'hsonet_mm.MultiImgLoadAnnotations')
    if not loaders:
        raise UserError(
            '--changed-values and --ignore-value require hsonet_mm.MultiImgLoadAnnotations in the '
            f'pipelines of {cfg.filename}: replace the transform that loads labels there by it'
        )
    for loader in loaders:
        loader.update(given)


def set_iterations(cfg: Config, iterations: int | None, validations: int | None = None) -> None:
    """Set the number of iterations; the schedules are scaled to it.

    Args:
        cfg: Config of a training by iterations, changed in place.
        iterations: Iterations of the whole training; None keeps the config's.
        validations: How often to validate and save a checkpoint, evenly spaced, the last time at the end; by default as
            often as the config does, or as near to that as can be evenly spaced.
    """
    before = (cfg.get('train_cfg') or {}).get('max_iters')
    if before is None:
        raise UserError(
            f'{cfg.filename} trains by epochs: set train_cfg.max_epochs with --cfg-options instead of --iters'
        )
    iterations = before if iterations is None else iterations
    if iterations < 1:
        raise UserError(f'invalid --iters {iterations}: expected 1 or more')
    if validations is None:
        interval = cfg.train_cfg.get('val_interval', before)
        if interval < 1:
            raise UserError(
                f'invalid train_cfg.val_interval {interval} in {cfg.filename}: expected 1 or more'
            )
        most = min(max(before // interval, 1), iterations)
        validations = next(number for number in range(most, 0, -1) if iterations % number == 0)
    if not 0 < validations <= iterations or iterations % validations:
        raise UserError(
            f'invalid number of validations {validations}: expected one that divides the {iterations} iterations, '
            'for they are evenly spaced'
        )
    schedulers = cfg.get('param_scheduler') or []
    cfg.param_scheduler = [schedulers] if isinstance(schedulers, dict) else schedulers
    factor = iterations / before
    for scheduler in cfg.param_scheduler:
        for key, least in (('begin', 0), ('end', 0), ('T_max', 0), ('total_steps', 1), ('step_size', 1)):
            if key in scheduler:
                scheduler[key] = max(least, round(scheduler[key] * factor))
        if 'milestones' in scheduler:
            scheduler.milestones = [round(milestone * factor) for milestone in scheduler.milestones]
        if 'periods' in scheduler:
            ends = [0, *(round(end * factor) for end in accumulate(scheduler.periods))]
            scheduler.periods = [end - start for start, end in pairwise(ends)]
    cfg.param_scheduler = [
        one for one in cfg.param_scheduler if one.get('end', iterations) > one.get('begin', 0)
    ]
    cfg.train_cfg.max_iters = iterations
    cfg.train_cfg.val_interval = iterations // validations
    hooks: Any = cfg.get('default_hooks') or {}
    if hooks.get('checkpoint'):
        hooks.checkpoint.interval = iterations // validations
    if hooks.get('logger'):
        hooks.logger.interval = min(hooks.logger.get('interval', iterations), iterations)


def set_up_loaders(cfg: Config, *splits: str) -> None:
    """Check the data roots of the splits to be used, and remove options that PyTorch allows only with workers."""
    for name in LOADERS:
        loader = cfg.get(name)
        if loader and not loader.get('num_workers'):
            for key in ('persistent_workers', 'prefetch_factor', 'timeout', 'multiprocessing_context'):
                loader.pop(key, None)
    for part in (part for split in splits for part in walk(cfg.get(f'{split}_dataloader'))):
        if part.get('type') in DATA_SETS and part.get('data_root') is not None:
            check_root(part['data_root'], part.get('backend_args'))


def expand_variables(path: str) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}`` by environment variables, and ``~`` by the home folder.

    As in a shell, the default also stands in for a variable that is set but empty.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if not found:
            raise UserError(
                f'the environment variable {name} of the data root {path!r} is not set: set it to the '
                'folder of the data set, or give the folder with --data-root'
            )
        return found

    return os.path.expanduser(_VARIABLE.sub(value, path))  # noqa: PTH111 (a remote path must stay as it is)


def check_root(written: str, backend_args: dict[str, Any] | None = None) -> None:
    """Check that the data root of a config exists."""
    root = expand_variables(written)
    if fileio.isdir(root, backend_args=backend_args):
        return
    names = [f'in the environment variable {name}' for name, _ in _VARIABLE.findall(written)]
    ways = ', '.join(['with --data-root', *names])
    raise UserError(
        f'the data root {root} does not exist: give the folder of the data set {ways} or as data_root in the config'
    )


def set_up_processes(cfg: Config, args: argparse.Namespace) -> None:
    """Set up the launcher; without a GPU the processes communicate by gloo (MMEngine presumes a GPU).

    Batch norms then see the images of their own process alone: PyTorch synchronises them on GPUs only.
    """
    cfg.launcher = args.launcher
    if args.launcher == 'none':
        return
    if args.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UserError(
            '--launcher pytorch is for processes that torchrun starts: leave it out, or run torchrun '
            '--nproc_per_node=2 tools/train.py ...'
        )
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if torch.cuda.is_available():
        return
    if args.launcher != 'pytorch':
        raise UserError(
            f'--launcher {args.launcher} needs a GPU and none is found: use torchrun and --launcher pytorch'
        )
    torch.distributed.init_process_group('gloo')
    cfg.sync_bn = None
    for part in walk(cfg.model):
        if part.get('type') in ('SyncBN', 'mmseg.SyncBN'):
            part['type'] = 'BN'
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'device_ids': None,
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
    }
