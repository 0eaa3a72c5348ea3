"""Overlapping tiles become one seamless raster, cell by cell, in memory for one tile."""

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.scenes.job import MASK_NODATA, SceneJob, encode
from hsonet_mm.scenes.tiling import TileGrid

__all__ = ['Blender']


class Blender:
    """Blends the tiles of a scene, in order, and writes each cell as soon as it is known.

    Columns are blended first, with what the tile on the left left over (kept in memory), then rows, with what
    the cell above left over (kept on the disk). So memory depends on neither height nor width of the scene.

    Args:
        grid: Tiles of the scene.
        job: Where cells and left-overs are written; the blender goes on where it stopped.
        threshold: Probability above which a pixel is changed.
    """

    def __init__(self, grid: TileGrid, job: SceneJob, threshold: float) -> None:
        self.grid, self.job, self.threshold = grid, job, np.float32(threshold)
        self.done = job.done
        self._left = job.left
        self._across = grid.columns.weights()
        self._down = grid.rows.weights()[:, None]

    def add(self, tile: int, probs: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        """Take the next tile.

        Args:
            tile: Its number.
            probs: Its probabilities, (rows, columns) of a tile, or None where all of it is nodata. Its neighbours
                then are nodata where they overlap with it, and what is handed to them does not matter.
            valid: Where both dates are valid.
        """
        rows, columns = self.grid.rows, self.grid.columns
        i, j = self.grid[tile]
        (y0, y1), (x0, x1) = rows.cell(i), columns.cell(j)
        top, left = rows.starts[i], columns.starts[j]
        if probs is None:
            probs = np.zeros(valid.shape, np.float32)
        below = rows.ramp if i < len(rows) - 1 else 0
        inside = slice(y0 - top, y1 - top + below)
        block = probs[inside, x0 - left : x1 - left].copy()
        if j:
            _blend(self._left[inside], block[:, : columns.ramp], self._across)
        if j < len(columns) - 1:
            self._left = probs[:, x1 - left : x1 - left + columns.ramp].copy()
        if i:
            above = self.job.read_edge(tile - len(columns), x1 - x0)
            _blend(above, block[: rows.ramp], self._down)
        if below:
            self.job.write_edge(tile, block[y1 - y0 :])
        cell, seen = block[: y1 - y0], valid[y0 - top : y1 - top, x0 - left : x1 - left]
        mask = np.where(seen, cell > self.threshold, MASK_NODATA).astype(np.uint8)
        self.job.write_cell(tile, encode(cell, seen, self.job.dtype), mask)

    def record(self, done: int) -> None:
        """Note that all tiles before a number are done."""
        self.done = done
        self.job.record(done, self._left, force=done == len(self.grid))


def _blend(before: NDArray[np.float32], after: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
    """Pass from one tile to the next along a ramp; the result replaces the latter."""
    after -= before
    after *= weights
    after += before
