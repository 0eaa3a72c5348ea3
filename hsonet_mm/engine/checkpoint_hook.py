"""The hook that saves checkpoints, selects the best one and stores the validation threshold in them."""

import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from hsonet_mm.engine.atomic_backend import ATOMIC
from hsonet_mm.registry import HOOKS

__all__ = ['ChangeCheckpointHook']

_NAME = r'(best_.+_|snapshot_)?(iter|epoch)_\d+'


@HOOKS.register_module()
class ChangeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` for one validation score, with four differences.

    - Every checkpoint contains the threshold of the last validation as ``meta.val_threshold``: ``value``, the ``f1`` of
      class "changed" there, and its ``iter``. At a validated iteration the checkpoint is saved before the validation
      and again afterwards.
    - The file name of the best checkpoint omits the word "best" of the score: ``changed/best_f1``, F1 at the best
      threshold of validation, gives ``best_changed_f1_iter_N.pth``.
    - Checkpoints of an earlier training, or of iterations later than the one resumed from, are moved to
      ``earlier_<time>`` in the same folder.
    - A checkpoint is written as a whole or not at all, see :class:`~hsonet_mm.engine.atomic_backend.AtomicBackend`.

    Args:
        save_best: Validation score that selects the best checkpoint; None keeps none.
        rule: ``'greater'`` or ``'less'``: which value is better.
        **kwargs: The other arguments of ``CheckpointHook``.
    """

    def __init__(
        self, save_best: str | None = 'changed/best_f1', rule: str | None = 'greater', **kwargs: Any
    ) -> None:
        self.figure = save_best
        self._name = None if save_best is None else re.sub(r'(^|/)best_', r'\1', save_best)
        # Only a folder of this machine is ours to write to.
        if kwargs.get('out_dir') is None and kwargs.get('file_client_args') is None:
            kwargs.setdefault('backend_args', ATOMIC)
        super().__init__(save_best=self._name, rule=rule, **kwargs)

    @property
    def figures(self) -> list[str]:
        """The validation scores that select the best checkpoint, one or none."""
        return [] if self.figure is None else [self.figure]

    def before_train(self, runner: Any) -> None:
        """Find the best checkpoint so far, also if the folder was moved, and set aside those of other runs."""
        super().before_train(runner)
        info = runner.message_hub.runtime_info
        if self._name is not None and (best := info.get('best_ckpt')):
            here = Path(self.out_dir) / Path(best).name
            if here.is_file():
                self.best_ckpt_path = str(here)
                info['best_ckpt'] = self.best_ckpt_path
            else:  # it was deleted, or the training goes on in another folder: the next validation sets the mark
                self.best_ckpt_path = None  # type: ignore[assignment]
                del info['best_ckpt'], info['best_score']
        if is_main_process():
            for path in Path(self.out_dir).glob('.*.pth.*'):
                if re.fullmatch(rf'\.{_NAME}\.pth\.[0-9a-f]{{8}}', path.name):  # cut off by a kill
                    path.unlink()
            self._put_aside(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Put the threshold of the last validation into the checkpoint."""
        if threshold := runner.message_hub.runtime_info.get('last_val_threshold'):
            checkpoint['meta']['val_threshold'] = threshold

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, Any]) -> None:
        """Store the threshold; save the best checkpoint, or the last one again."""
        runner.message_hub.update_info('last_val_threshold', _threshold(metrics, runner.iter))
        if self._name is None or self.figure is None:
            self._save_again(runner)
            return
        before = runner.message_hub.runtime_info.get('best_score')
        with _named(runner.logger, self._name, self.figure):
            super().after_val_epoch(runner, {**metrics, self._name: metrics[self.figure]})
        better = runner.message_hub.runtime_info.get('best_score') != before
        if (
            not better or self.last_ckpt is None
        ):  # MMEngine saves again if it is better and this process saved it
            self._save_again(runner)
        if better and is_main_process():
            for path in self._checkpoints():
                if path.name.startswith('best_') and path != Path(self.best_ckpt_path or ''):
                    path.unlink()

    def _save_again(self, runner: Any) -> None:
        """Save the last checkpoint again with the result of its validation, as MMEngine does for the best one."""
        name = self.filename_tmpl.format(runner.epoch if self.by_epoch else runner.iter)
        if self.file_backend.isfile(self.file_backend.join_path(self.out_dir, name)):
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta={'epoch': runner.epoch, 'iter': runner.iter},
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
            )

    def _checkpoints(self) -> Iterator[Path]:
        """The checkpoints in the folder, including snapshots, if it is on this machine."""
        for path in sorted(Path(self.out_dir).glob('*.pth')):
            if re.fullmatch(_NAME, path.stem):
                yield path

    def _put_aside(self, runner: Any) -> None:
        done = {'iter': runner.iter, 'epoch': runner.epoch}
        names = ((path, path.stem.split('_')[-2:]) for path in self._checkpoints())
        later = [path for path, (unit, number) in names if int(number) > done[unit]]
        if not later:
            return
        aside = Path(self.out_dir) / f'earlier_{runner.timestamp}'
        aside.mkdir(exist_ok=True)
        for path in later:
            for file in path.parent.glob(f'{path.name}*'):  # its calibration, too
                shutil.move(file, aside / file.name)
        note = Path(runner.work_dir) / 'last_checkpoint'
        if note.is_file() and Path(note.read_text(encoding='utf-8')).name in {path.name for path in later}:
            note.unlink()
        runner.logger.warning(
            f'{self.out_dir} contains checkpoints of an earlier training ({", ".join(path.name for path in later)}): '
            f'they are moved to {aside}'
        )


@contextmanager
def _named(logger: logging.Logger, name: str, figure: str) -> Iterator[None]:
    """Name the selecting score in MMEngine's message about the best checkpoint."""

    def rename(record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).replace(f' {name} at ', f' {figure} at ')
        return True

    logger.addFilter(rename)
    try:
        yield
    finally:
        logger.removeFilter(rename)


def _threshold(metrics: Mapping[str, Any], iteration: int) -> dict[str, float] | None:
    """The best threshold in the scores of a validation; None if there is none, or no changed pixel was found."""
    key = next((name for name in metrics if name.endswith('best_threshold')), None)
    f1 = metrics.get(key.removesuffix('threshold') + 'f1', 0.0) if key else 0.0
    if key is None or not f1 > 0:
        return None
    return {'value': float(metrics[key]), 'f1': float(f1), 'iter': iteration}
