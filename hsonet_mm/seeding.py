"""Random numbers that depend on the seed of a run and on where it is, not on what was drawn before."""

import random

import numpy as np
import torch

__all__ = ['derived_seed', 'seed_everything']


def derived_seed(*numbers: int) -> int:
    """A seed in [0, 2^32) that numbers such as (seed, iteration, rank) determine, well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (transforms of MMEngine draw from it)
    torch.manual_seed(seed)
