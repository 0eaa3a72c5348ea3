"""MMEngine's training loop with exact resumption and without reading the data again."""

from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank
from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator

from hsonet_mm.engine.schedules import follow_config
from hsonet_mm.registry import LOOPS
from hsonet_mm.seeding import derived_seed, seed_everything

__all__ = ['ResumableTrainLoop']


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """``IterBasedTrainLoop`` whose resumed training gives the result of an uninterrupted one.

    With ``accumulative_counts`` it does so from checkpoints at its multiples: others lack the gradients in between.

    - Each iteration has its own seed, for dropout and the like; :class:`~hsonet_mm.datasets.SeededSampler` seeds the
      augmentation.
    - On resuming, the sampler is advanced; MMEngine 0.10 loads the batches of all completed iterations instead.
    - On resuming, the schedules of the config apply, see :func:`~hsonet_mm.engine.schedules.follow_config`.
    - An interrupted validation is repeated, so the best checkpoint is the same.

    It takes the arguments of ``IterBasedTrainLoop``.
    """

    def run(self) -> Any:
        """Train; returns the model."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter > 0:
            follow_config(self.runner)
            self._advance()
            self._decide_current_val_interval()
            if (
                self._validates_now()
                and self.runner.message_hub.runtime_info.get('iter_validated') != self._iter
            ):
                self._validate()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            if self._validates_now():
                self._validate()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        """Train on one batch."""
        seed_everything(derived_seed(self.runner.seed, self._iter, get_rank()))
        super().run_iter(data_batch)

    def _validates_now(self) -> bool:
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return self.runner.val_loop is not None and self._iter >= self.val_begin and due

    def _validate(self) -> None:
        # Noted first: the checkpoint of before lacks the note, the one that is saved at the end holds it.
        self.runner.message_hub.update_info('iter_validated', self._iter)
        self.runner.val_loop.run()

    def _advance(self) -> None:
        """Advance the data past the batches of completed iterations."""
        loader = self.dataloader
        if isinstance(loader.sampler, InfiniteSampler) and loader.batch_size is not None:
            _skip(loader.sampler, self._iter * loader.batch_size)
            self.dataloader_iterator = _InfiniteDataloaderIterator(loader)
        else:  # a sampler of another kind: load what was trained before
            for _ in range(self._iter):
                next(self.dataloader_iterator)


def _skip(sampler: InfiniteSampler, samples: int) -> None:
    """``sampler.skip``, which MMEngine 0.10 lacks."""
    if hasattr(sampler, 'skip'):
        sampler.skip(samples)
    else:
        indices = sampler._indices_of_rank()
        for _ in range(samples):
            next(indices)
        sampler.indices = indices
