"""Demo data: aerial scenes at two dates whose hard cases are typed object by object."""

from hsonet_mm.demo.generate import Pair, generate, make_pair
from hsonet_mm.evaluation.hard_cases import BACKGROUND, HARD_CASES, HardCase

__all__ = ['BACKGROUND', 'HARD_CASES', 'HardCase', 'Pair', 'generate', 'make_pair']
