"""SeededSampler: every sample of a training, on every process, has a seed of its own."""

from itertools import islice

import pytest
from mmengine.dataset import sampler

from hsonet_mm.datasets.seeded_sampler import SeededSampler

SAMPLES = range(8)


@pytest.fixture
def drawn(monkeypatch):
    """A function: what one process of several draws first, as pairs of index and seed."""

    def draw(rank, processes, number=100, start=0, seed=42):
        monkeypatch.setattr(sampler, 'get_dist_info', lambda: (rank, processes))
        samples = SeededSampler(SAMPLES, seed=seed)
        samples.skip(start)
        return [(int(one), one.seed) for one in islice(samples, number)]

    return draw


def test_no_two_samples_have_the_same_seed(drawn):
    seeds = [seed for rank in (0, 1) for _, seed in drawn(rank, 2)]
    assert len(set(seeds)) == len(seeds) == 200


def test_processes_share_the_stream_of_one(drawn):
    both = [pair for pairs in zip(drawn(0, 2), drawn(1, 2), strict=True) for pair in pairs]
    assert both == drawn(0, 1, number=200)


def test_another_seed_is_another_stream_and_skipping_is_drawing(drawn):
    assert not {seed for _, seed in drawn(0, 1)} & {seed for _, seed in drawn(0, 1, seed=43)}
    assert drawn(0, 1, number=10, start=90) == drawn(0, 1)[90:]
