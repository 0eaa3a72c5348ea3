"""Random draws for plans."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from hsonet_mm.demo.scenes import RGB

__all__ = ['Draw']

T = TypeVar('T')


class Draw:
    """A random generator with the few draws that a plan needs."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        """A number between two others."""
        return low + (high - low) * float(self.rng.random())

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def pick(self, items: Sequence[T]) -> T:
        """One of the items; repeated items are more likely."""
        return items[int(self.rng.integers(len(items)))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in another order."""
        return [items[i] for i in self.rng.permutation(len(items))]

    def tint(self, colour: RGB, spread: float = 0.06) -> RGB:
        """A colour near the given one, varied mostly in brightness and slightly in hue."""
        factors = 1 + self.rng.normal(0, spread) + self.rng.normal(0, spread / 4, 3)
        red, green, blue = np.clip(np.multiply(colour, factors), 0, 255).tolist()
        return red, green, blue
