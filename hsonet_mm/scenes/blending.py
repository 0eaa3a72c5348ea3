"""Blends tiles into the rasters of a scene, cell by cell, with the memory of one tile."""

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.geo.change_map import MASK_NODATA, encode
from hsonet_mm.scenes.job import SceneJob
from hsonet_mm.windows import Blender

__all__ = ['CellWriter']


class CellWriter:
    """Writes the cell of each tile as soon as it is known.

    What a tile hands to the one below it is kept on the disk, so memory depends on neither side of the scene.
    """

    def __init__(self, job: SceneJob, threshold: float) -> None:
        self.grid, self.job, self.threshold = job.grid, job, np.float32(threshold)
        self.done = job.done
        self._blender = Blender(job.grid, job, job.left)

    def add(self, tile: int, probs: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        """Take the next tile.

        Probabilities are None where all of a tile is nodata: its neighbours are then nodata where they overlap with it,
        and what is handed to them does not matter.
        """
        i, j = self.grid[tile]
        top, left = self.grid.rows.starts[i], self.grid.columns.starts[j]
        (y0, y1), (x0, x1) = self.grid.rows.cell(i), self.grid.columns.cell(j)
        cell = self._blender.add(tile, np.zeros(valid.shape, np.float32) if probs is None else probs)
        seen = valid[y0 - top : y1 - top, x0 - left : x1 - left]
        mask = np.where(seen, cell > self.threshold, MASK_NODATA).astype(np.uint8)
        self.job.write_cell(tile, encode(cell, seen, self.job.dtype), mask)

    def record(self, done: int) -> None:
        """Note that all tiles before a number are done."""
        self.done = done
        self.job.record(done, self._blender.left, force=done == len(self.grid))
