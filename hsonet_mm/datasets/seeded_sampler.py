"""A sampler that seeds the augmentation of each sample and resumes without reading data."""

from collections.abc import Iterator
from itertools import islice

from mmengine.dataset import InfiniteSampler

from hsonet_mm.registry import DATA_SAMPLERS
from hsonet_mm.seeding import derived_seed

__all__ = ['SeededIndex', 'SeededSampler']


class SeededIndex(int):
    """Index of a sample, with the seed of its random augmentation in [0, 2^32)."""

    seed: int

    def __new__(cls, index: int, seed: int) -> 'SeededIndex':  # noqa: D102
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self), self.seed


@DATA_SAMPLERS.register_module()
class SeededSampler(InfiniteSampler):
    """MMEngine's ``InfiniteSampler``, whose indices carry the seed of the sample's augmentation.

    The seed is derived from the seed of the run and the position in the stream of samples, so a sample is the same for
    any number of workers and after resuming. :class:`~hsonet_mm.datasets.change_dataset.ChangeDataset` uses it.

    Args:
        dataset: data set to sample from.
        shuffle: whether to draw in random order.
        seed: seed of the run; by default one that all processes agree on.
    """

    def __init__(self, dataset: object, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(dataset, shuffle, seed)
        self._start = 0

    def skip(self, num_samples: int) -> None:
        """Skip samples, as if this process had drawn them; none of them is read."""
        self._start = num_samples

    def __iter__(self) -> Iterator[SeededIndex]:
        indices = islice(self._indices_of_rank(), self._start, None)
        for position, index in enumerate(indices, self._start):
            yield SeededIndex(index, derived_seed(self.seed, position * self.world_size + self.rank))
