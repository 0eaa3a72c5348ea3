"""Where the tiles of a scene lie and how neighbours are blended.

Along each axis tiles of one size start at multiples of the step, the last one as far back as it takes to end
with the scene. All starts are multiples of 32, the stride of the networks, so that a tile sees the same grid as
the whole image would. Where two tiles overlap, the outer quarter of the overlap at the edge of either tile, whose
context is cut off, is not used; over the half between, the weight passes from one tile to the next along a
raised cosine. The two weights sum to one. [our choice]

A *cell* is the part of the scene from the start of a tile's ramp with the neighbour before it to the start of its
ramp with the neighbour after it. Cells cover the scene once; each is known as soon as its own tile and those
before it, on the left and above, are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError

__all__ = ['Axis', 'TileGrid', 'reflect']

ALIGN = 32
"""Tiles start and end at multiples of this, the largest stride of the networks."""


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis of a scene.

    Attributes:
        length: Pixels of the scene.
        size: Pixels of a tile; beyond the end of the scene it is padded.
        starts: First pixel of each tile.
        ramp: Pixels over which two neighbours are blended.
        ramps: First pixel of the ramp between each tile and the next.
    """

    length: int
    size: int
    starts: tuple[int, ...]
    ramp: int
    ramps: tuple[int, ...]

    @classmethod
    def make(cls, length: int, tile: int, overlap: int) -> 'Axis':
        """Lay tiles over an axis.

        Args:
            length: Pixels of the scene.
            tile: Pixels of a tile; a shorter scene is padded to a multiple of 32 only.
            overlap: Pixels that neighbours share at least.
        """
        size = min(tile, _align(length))
        last = _align(max(0, length - size))
        starts = (*range(0, last, tile - overlap), last)
        ramp = overlap // 2
        ramps = list[int]()
        for start, following in pairwise(starts):
            middle = (following + start + size) // 2
            ramps.append(middle - ramp // 2)
        return cls(length, size, starts, ramp, tuple(ramps))

    def __len__(self) -> int:
        return len(self.starts)

    def cell(self, index: int) -> tuple[int, int]:
        """First pixel of a tile's cell, and the one after its last."""
        first = self.ramps[index - 1] if index else 0
        return first, self.ramps[index] if index < len(self.ramps) else self.length

    def window(self, index: int) -> tuple[int, int]:
        """First pixel of a tile within the scene, and the one after its last."""
        start = self.starts[index]
        return start, min(start + self.size, self.length)

    def weights(self) -> NDArray[np.float32]:
        """Weight of the following tile along a ramp, (ramp,) from 0 to 1; the tile before has the rest."""
        position = (np.arange(self.ramp) + 0.5) / max(1, self.ramp)
        return (0.5 - 0.5 * np.cos(np.pi * position)).astype(np.float32)


@dataclass(frozen=True)
class TileGrid:
    """All tiles of a scene, numbered from left to right and from top to bottom."""

    rows: Axis
    columns: Axis

    @classmethod
    def make(cls, height: int, width: int, tile: int, overlap: int) -> 'TileGrid':
        """Lay tiles over a scene.

        Args:
            height: Rows of the scene.
            width: Columns of the scene.
            tile: Rows and columns of a tile.
            overlap: Rows and columns that neighbours share at least.

        Raises:
            UserError: if tile or overlap are no multiples of 32 or do not go together.
        """
        if tile % ALIGN or overlap % ALIGN or tile < 2 * ALIGN or not 0 <= overlap <= tile // 2:
            raise UserError(
                f'tiles of {tile} pixels cannot overlap by {overlap}: give multiples of {ALIGN}, a tile of at '
                f'least {2 * ALIGN} and an overlap of at most half of it'
            )
        return cls(Axis.make(height, tile, overlap), Axis.make(width, tile, overlap))

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __getitem__(self, index: int) -> tuple[int, int]:
        """Row and column of a tile in the grid."""
        return divmod(index, len(self.columns))

    def groups(self, size: int) -> Iterator[range]:
        """Consecutive tiles that go through the model together."""
        return (range(first, min(first + size, len(self))) for first in range(0, len(self), size))


def _align(pixels: int) -> int:
    return -(-pixels // ALIGN) * ALIGN


def reflect(size: int, length: int) -> NDArray[np.intp]:
    """Which of ``length`` pixels stand at each of ``size`` places when the end, and the start, are mirrors."""
    if length == 1:
        return np.zeros(size, np.intp)
    places = np.arange(size) % (2 * length - 2)
    return np.where(places < length, places, 2 * length - 2 - places)
