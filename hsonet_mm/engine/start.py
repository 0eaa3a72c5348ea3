"""The start of a training: from its own checkpoint, from other weights, or from scratch."""

import logging
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log

from hsonet_mm.checkpoints import Checkpoint, load_fitting, load_weights, read_checkpoint
from hsonet_mm.errors import UserError

__all__ = ['AUTO', 'StartHook', 'checkpoint_to_resume', 'newest_checkpoint']

AUTO = 'auto'
"""The value of ``resume`` with which the newest checkpoint of the work dir counts, whatever ``load_from`` names."""


def checkpoint_to_resume(cfg: Config) -> Checkpoint | None:
    """The checkpoint from which a training continues; None if the work directory contains none.

    ``resume`` names it or its folder. If it is ``True``, as in MMEngine, ``load_from`` does. If nothing names it, or
    ``resume`` is :data:`AUTO`, it is the newest checkpoint of the work dir.

    Raises:
        UserError: if it is damaged, contains only weights, or has done more iterations than the config asks for; and if
            the work dir contains checkpoints, but none to go on from.
    """
    named = {True: cfg.get('load_from'), AUTO: None}.get(cfg.resume, cfg.resume)
    if named is None or Path(named).is_dir():
        checkpoint = newest_checkpoint(Path(named or cfg.work_dir))
        if checkpoint is None and named:
            raise UserError(f'{named} contains no checkpoint to resume from: name one with --resume')
    else:
        checkpoint = read_checkpoint(named)
    if checkpoint is None:
        return None
    if not {'optimizer', 'message_hub'} <= checkpoint.content.keys() or 'iter' not in checkpoint.meta:
        raise UserError(
            f'{checkpoint.path} contains weights without a training state: resume from an iter_*.pth, or '
            'start a new training from these weights with --init-from'
        )
    for key, unit in (('max_iters', 'iter'), ('max_epochs', 'epoch')):
        wanted, done = (cfg.get('train_cfg') or {}).get(key), checkpoint.meta[unit]
        option = ' with --iters' if unit == 'iter' else ''
        if wanted is not None and done > wanted:
            raise UserError(
                f'{checkpoint.path} has already completed {done} of {wanted} {unit}s: raise the number{option}, '
                'resume from an earlier checkpoint, or name another --work-dir'
            )
    return checkpoint


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of a work directory to resume from.

    MMEngine's ``last_checkpoint`` names it with its whole path, which leads astray once the folder has moved; the file
    of that name in the folder counts. Without it, the one of the most iterations does. One that was cut off by a kill
    is passed over, with a warning. None if the folder contains no checkpoint at all.

    Raises:
        UserError: if the folder contains checkpoints but none to resume from, or if the one that it names is
            gone and there is no other.
    """
    candidates = sorted(folder.glob('*.pth'), key=_number, reverse=True)
    resumable = [path for path in candidates if re.fullmatch(r'(iter|epoch)_\d+', path.stem)]
    note = folder / 'last_checkpoint'
    named = note.read_text(encoding='utf-8').strip() if note.is_file() else ''
    if named:
        found = [path for path in (folder / Path(named).name, Path(named)) if path.is_file()][:1]
        resumable = found + [path for path in resumable if path not in found]
    first: UserError | None = None
    for path in resumable:
        try:
            checkpoint = read_checkpoint(path)
        except UserError as error:
            first = first or error
            continue
        if first is not None:
            print_log(f'{first}; going on from {path}', logger='current', level=logging.WARNING)
        return checkpoint
    if first is not None:
        raise UserError(
            f'{first}; or, since {folder} contains no other to resume from, remove it to start from scratch'
        )
    if candidates:
        raise UserError(
            f'{folder} contains {candidates[0].name}, but no checkpoint to resume from (iter_*.pth): name '
            'one with --resume PATH, start from these weights with --init-from PATH, or name another '
            '--work-dir'
        )
    if named:
        raise UserError(
            f'{note} names {named}, which does not exist, and {folder} contains no other checkpoint: name '
            'one with --resume PATH, or delete last_checkpoint to start from scratch'
        )
    return None


def _number(path: Path) -> int:
    """Iterations or epochs in the name of a checkpoint, or -1."""
    digits = path.stem.rpartition('_')[2]
    return int(digits) if digits.isdigit() else -1


class StartHook(Hook):
    """Loads initial weights, all or with ``partly`` those that fit, after the network is initialised."""

    priority = 'VERY_HIGH'

    def __init__(self, checkpoint: Checkpoint, partly: bool) -> None:
        self.checkpoint = checkpoint
        self.partly = partly

    def before_train(self, runner: Any) -> None:
        """Load them."""
        model = getattr(runner.model, 'module', runner.model)
        if not self.partly:
            load_weights(model, self.checkpoint)
            runner.logger.info(f'The training starts from the weights of {self.checkpoint.path}')
            return
        fit = load_fitting(model, self.checkpoint)
        runner.logger.info(
            f'The training starts from {self.checkpoint.path}: {fit.loaded} weights fit, {len(fit.kept)} of the model '
            f'stay as they were initialised, {len(fit.unused)} of the file are not used'
        )
        for title, lines in (('adapted', fit.adapted), ('not loaded', fit.kept), ('not used', fit.unused)):
            if lines:
                runner.logger.info(f'{title}:\n' + '\n'.join(f'  {line}' for line in lines))
