"""Random seeds derived from the seed of a run and a position in it, independent of earlier draws."""

import random

import numpy as np
import torch

__all__ = ['derived_seed', 'seed_everything']


def derived_seed(*numbers: int) -> int:
    """A well-mixed seed in [0, 2^32) derived from numbers such as (seed, iteration, rank)."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (transforms of MMEngine draw from it)
    torch.manual_seed(seed)
