"""Windows over an image of any size: their positions and the blending of neighbours, for images and scenes alike.

Along each axis windows of one size start at multiples of the step, the last one as far back as it takes to end with
the image. Where size and step are multiples of 32, the stride of the networks, all starts are, so that a window sees
the same grid as the whole image would. Where two windows overlap, the outer quarter of the overlap at the edge of
either, whose context is cut off, is not used; over the half between, the weight passes from one window to the next
along a raised cosine. The two weights sum to one. [choice]

A *cell* is the part of the image from the start of a window's ramp with the neighbour before it to the start of its
ramp with the neighbour after it. Cells cover the image once; each is known as soon as its own window and those before
it, on the left and above, are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError

__all__ = [
    'Axis',
    'Blender',
    'Window',
    'WindowGrid',
    'default_window',
    'pad',
    'slide',
    'starts',
    'with_overlap',
]

ALIGN = 32
"""The largest stride of the networks."""
SIZE = 512
"""Window of a model that does not say what it was trained on."""
MOST_TIMES = 16
"""How many times windows may compute every pixel at most; by default it is 1.8 times. [choice]"""


@dataclass(frozen=True)
class Window:
    """A window that slides over images.

    Attributes:
        size: Rows and columns.
        overlap: Rows and columns that neighbours share at least.
        fixed: The model takes windows of this size only, so smaller images are padded to it.

    Raises:
        UserError: for a size or an overlap that leave no step forward.

    Example:
        >>> grid = Window(size=256, overlap=64).grid(500, 700)
        >>> len(grid)
        12
    """

    size: int
    overlap: int
    fixed: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.overlap < self.size:
            raise UserError(
                f'invalid windows of {self.size} pixels with a step of {self.size - self.overlap} '
                f'(an overlap of {self.overlap}): expected a step from 1 to the size, an overlap below it'
            )

    def grid(self, height: int, width: int) -> 'WindowGrid':
        """The windows over an image of that size."""
        return WindowGrid(*(Axis.make(side, self.size, self.overlap, self.fixed) for side in (height, width)))

    def chosen(self, size: int | None, overlap: int | None, option: str) -> 'Window':
        """The window that a user chooses by options, of which one gives the size; this is the model's own.

        Raises:
            UserError: as :func:`with_overlap`; and for another size than the only one that the model takes.
        """
        if self.fixed and size not in (None, self.size):
            raise UserError(
                f'the model takes {self.size} x {self.size} pixels only: leave out {option} {size}, or export the '
                'model without --tile'
            )
        return with_overlap(self.size if size is None else size, overlap, self.fixed)


def default_window(tile_size: int | None, crop_size: int | None) -> Window:
    """The default window of a model: the size of its training crops, with a quarter as overlap.

    A network that averages over its input, as HSONet does, is best at the size that it was trained on.
    """
    size = tile_size or _align(crop_size or SIZE)
    return with_overlap(size, None, fixed=tile_size is not None)


def with_overlap(size: int, overlap: int | None, fixed: bool = False) -> Window:
    """A window that by default shares a quarter with its neighbours, in multiples of 32 where it is one.

    Raises:
        UserError: as :class:`Window`; and for windows that compute every pixel more than :data:`MOST_TIMES` times,
            for networks pad what is smaller than their stride.
    """
    if overlap is None:
        quarter = -(-size // 4)
        overlap = min(quarter if size % ALIGN else _align(quarter), size // 2)
    window = Window(size, overlap, fixed)
    step = size - overlap
    times = (max(size, ALIGN) / step) ** 2
    if times > MOST_TIMES:
        raise UserError(
            f'invalid windows of {size} pixels with a step of {step} (an overlap of {overlap}), which compute every '
            f'pixel {times:,.0f} times: expected at most {MOST_TIMES} times, so larger windows or a larger step'
        )
    return window


def starts(length: int, size: int, step: int, align: int = 1) -> tuple[int, ...]:
    """First pixels of windows that cover an axis; the last is moved back to end with it, up to the alignment."""
    last = -(-max(0, length - size) // align) * align
    return (*range(0, last, step), last)


@dataclass(frozen=True)
class Axis:
    """Windows along one axis.

    Attributes:
        size: Pixels of a window; beyond the end of the image it is padded.
        starts: First pixel of each window.
        ramp: Pixels over which two neighbours are blended.
        ramps: First pixel of the ramp between each window and the next.
    """

    length: int
    size: int
    starts: tuple[int, ...]
    ramp: int
    ramps: tuple[int, ...]

    @classmethod
    def make(cls, length: int, size: int, overlap: int, fixed: bool = False) -> 'Axis':
        """Lay windows over an axis."""
        align = ALIGN if size % ALIGN == overlap % ALIGN == 0 else 1
        step = size - overlap
        if not fixed:
            size = min(size, _align(length))
        first = starts(length, size, step, align)
        ramp = min(overlap, step) // 2  # ramps follow one another by at least half a step
        ramps = tuple((following + start + size) // 2 - ramp // 2 for start, following in pairwise(first))
        return cls(length, size, first, ramp, ramps)

    def __len__(self) -> int:
        return len(self.starts)

    def cell(self, index: int) -> tuple[int, int]:
        """First pixel of a window's cell, and the one after its last."""
        first = self.ramps[index - 1] if index else 0
        return first, self.ramps[index] if index < len(self.ramps) else self.length

    def window(self, index: int) -> tuple[int, int]:
        """First pixel of a window within the image, and the one after its last."""
        start = self.starts[index]
        return start, min(start + self.size, self.length)

    def weights(self) -> NDArray[np.float32]:
        """Weight of the following window along a ramp, (ramp,) from 0 to 1; the window before has the rest."""
        position = (np.arange(self.ramp) + 0.5) / max(1, self.ramp)
        return (0.5 - 0.5 * np.cos(np.pi * position)).astype(np.float32)


@dataclass(frozen=True)
class WindowGrid:
    """All windows of an image, numbered from left to right and from top to bottom."""

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __getitem__(self, index: int) -> tuple[int, int]:
        """Row and column of a window in the grid."""
        return divmod(index, len(self.columns))

    def groups(self, size: int) -> Iterator[range]:
        """Consecutive windows that go through the model together."""
        return (range(first, min(first + size, len(self))) for first in range(0, len(self), size))


class Edges(Protocol):
    """Stores the overlapping rows that windows pass to those below them."""

    def write_edge(self, index: int, edge: NDArray[np.float32]) -> None:
        """Keep what a window hands on, (ramp, columns of its cell)."""
        ...

    def read_edge(self, index: int, columns: int) -> NDArray[np.float32]:
        """Give it back; each is asked for once."""
        ...


class EdgesInMemory(dict[int, NDArray[np.float32]]):
    """Edges of one row of windows, forgotten as soon as they are read."""

    def write_edge(self, index: int, edge: NDArray[np.float32]) -> None:
        """Keep what a window hands on."""
        self[index] = edge

    def read_edge(self, index: int, columns: int) -> NDArray[np.float32]:  # noqa: ARG002
        """Give it back."""
        return self.pop(index)


class Blender:
    """Blends the windows of an image, in order; each cell is returned as soon as it is complete.

    Columns are blended first, with what the window on the left has left over, then rows, with what the cell above has.
    So memory depends on neither height nor width of the image where edges, the left-overs of rows, are kept on the
    disk. ``left`` is what the last window hands to the next, (rows of a window, ramp); None at the start.
    """

    def __init__(self, grid: WindowGrid, edges: Edges, left: NDArray[np.float32] | None = None) -> None:
        self.grid, self._edges = grid, edges
        self.left = np.zeros((grid.rows.size, grid.columns.ramp), np.float32) if left is None else left
        self._across = grid.columns.weights()
        self._down = grid.rows.weights()[:, None]

    def add(self, index: int, probs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next window's values, (rows, columns); returns the values of its cell."""
        rows, columns = self.grid.rows, self.grid.columns
        i, j = self.grid[index]
        (y0, y1), (x0, x1) = rows.cell(i), columns.cell(j)
        top, left = rows.starts[i], columns.starts[j]
        below = rows.ramp if i < len(rows) - 1 else 0
        inside = slice(y0 - top, y1 - top + below)
        block = probs[inside, x0 - left : x1 - left].copy()
        if j:
            _blend(self.left[inside], block[:, : columns.ramp], self._across)
        if j < len(columns) - 1:
            self.left = probs[:, x1 - left : x1 - left + columns.ramp].copy()
        if i and rows.ramp:
            above = self._edges.read_edge(index - len(columns), x1 - x0)
            _blend(above, block[: rows.ramp], self._down)
        if below:
            self._edges.write_edge(index, block[y1 - y0 :])
        return block[: y1 - y0]


def _blend(before: NDArray[np.float32], after: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    """Blend from one window to the next along a ramp; the result replaces the latter."""
    after -= before
    after *= weights
    after += before


Probs = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


def slide(
    probs: Probs, t1: NDArray[np.uint8], t2: NDArray[np.uint8], window: Window, batch: int = 4
) -> NDArray[np.float32]:
    """Slide a window over a pair (H, W, C), in the memory of the images, the result and one batch of windows.

    ``probs`` maps windows of both dates, (N, h, w, C), to values (N, h, w).
    """
    grid = window.grid(*t1.shape[:2])
    blender = Blender(grid, EdgesInMemory())
    result = np.empty(t1.shape[:2], np.float32)
    for group in grid.groups(batch):
        first, second = (np.stack([_cut(image, grid, index) for index in group]) for image in (t1, t2))
        for index, values in zip(group, probs(first, second), strict=True):
            i, j = grid[index]
            rows, columns = slice(*grid.rows.cell(i)), slice(*grid.columns.cell(j))
            result[rows, columns] = blender.add(index, values)
    return result


def _cut(image: NDArray[np.uint8], grid: WindowGrid, index: int) -> NDArray[np.uint8]:
    i, j = grid[index]
    rows, columns = slice(*grid.rows.window(i)), slice(*grid.columns.window(j))
    return pad(image[rows, columns], grid)


def pad(block: NDArray[Any], grid: WindowGrid) -> NDArray[Any]:
    """Pad the part of an image in a window, (h, w, ...), to the size of the window by reflection."""
    rows, columns = grid.rows.size - block.shape[0], grid.columns.size - block.shape[1]
    if not rows and not columns:
        return block
    return np.pad(block, ((0, rows), (0, columns), *[(0, 0)] * (block.ndim - 2)), mode='reflect')


def _align(pixels: int) -> int:
    return -(-pixels // ALIGN) * ALIGN
