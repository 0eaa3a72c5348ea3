"""How the values of a raster become the 8 bits that the networks take."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError

__all__ = ['Stretch', 'apply_stretch', 'parse_stretch']


@dataclass(frozen=True)
class Stretch:
    """A range of values that becomes 0 to 255.

    Attributes:
        low: What becomes 0, a value or a percentile.
        high: What becomes 255.
        percent: Whether they are percentiles, to be found for each date over its bands together, so that
            hues remain.
    """

    low: float
    high: float
    percent: bool = False

    def __str__(self) -> str:
        unit = '%' if self.percent else ''
        return f'{self.low:g}{unit},{self.high:g}{unit}'

    def resolve(self, values: NDArray[np.integer[Any]]) -> 'Stretch':
        """The same in values: percentiles are taken of a sample of a raster's valid values."""
        if not self.percent:
            return self
        low, high = np.percentile(values, [self.low, self.high]).tolist()
        return Stretch(low, max(high, low + 1))


def parse_stretch(text: str) -> Stretch:
    """Read a stretch: ``0,3000`` are values, ``2%,98%`` percentiles.

    Raises:
        UserError: if it is neither.
    """
    number = r'\s*([-+]?\d+(?:\.\d+)?)\s*'
    match = re.fullmatch(f'{number}(%?)\\s*,{number}(%?)\\s*', text)
    if match and match[2] == match[4]:
        stretch = Stretch(float(match[1]), float(match[3]), bool(match[2]))
        if stretch.low < stretch.high and (not stretch.percent or 0 <= stretch.low < stretch.high <= 100):
            return stretch
    raise UserError(f"the stretch '{text}' is no range: give values as 0,3000 or percentiles as 2%,98%")


def apply_stretch(image: NDArray[np.generic], stretch: Stretch | None) -> NDArray[np.uint8]:
    """Bring values to 8 bits; without a stretch they are 8 bits already."""
    if stretch is None:
        return image.astype(np.uint8, copy=False)
    scaled = image.astype(np.float32)
    scaled -= np.float32(stretch.low)
    scaled *= np.float32(255 / (stretch.high - stretch.low))
    np.clip(scaled, 0, 255, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.uint8)
