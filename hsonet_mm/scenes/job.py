"""The working folder beside a result, from which an interrupted run continues."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.files import lock, unwritable
from hsonet_mm.geo.change_map import MASK_NODATA, stored_probs
from hsonet_mm.windows import Blender, WindowGrid

__all__ = ['SceneJob']

CHECKPOINT_SECONDS = 2.0


class SceneJob:
    """The unfinished result of a scene: raw rasters on the disk, and the progress.

    Tiles are blended cell by cell. What a tile hands to the one below it is kept on the disk, so memory depends on
    neither side of the scene.

    It holds ``key.json`` (inputs and options), ``probs.raw`` and ``mask.raw`` (the scene, row by row),
    ``edges.raw`` (what each tile hands to the one below it) and ``state`` (tiles done, and what the last of them
    hands to the next). State is recorded every two seconds, after the rasters are on the disk; what is written again
    after a kill is written to the same places with the same values.

    Args:
        folder: The folder; made if needed.
        key: Everything that the result depends on. A folder with another key is emptied.
        grid: Tiles of the scene.
        dtype: ``'uint8'`` or ``'float32'`` for the probabilities.

    Attributes:
        done: Tiles on record as done, all before that number.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], grid: WindowGrid, dtype: str) -> None:
        self.folder, self.grid, self.dtype = folder, grid, dtype
        self._files: dict[str, IO[bytes]] = {}
        with ExitStack() as opened:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if not lock(opened.enter_context((folder / 'lock').open('w'))):
                    raise UserError(f'another process is writing to {folder}: wait for it, or end it')
                self._prepare(json.dumps(key, sort_keys=True, indent=1), opened)
                self.done, left = self._read_state()
            except OSError as error:
                if not (folder / 'key.json').exists():  # there is nothing to go on with
                    shutil.rmtree(folder, ignore_errors=True)
                raise unwritable(folder.parent, error) from None
            self._opened = opened.pop_all()
        self.blender = Blender(grid, self, left)
        self._recorded = time.monotonic()

    def _prepare(self, key: str, opened: ExitStack) -> None:
        """Open the rasters, empty ones unless the folder is of the same scene and options."""
        path = self.folder / 'key.json'
        fresh = not path.is_file() or path.read_text(encoding='utf-8') != key
        if fresh:
            for old in self.folder.iterdir():
                if old.name != 'lock':
                    old.unlink()
        for name, size in self._sizes().items():
            file = (self.folder / f'{name}.raw').open('w+b' if fresh else 'r+b', buffering=0)
            self._files[name] = opened.enter_context(file)
            file.truncate(size)
        if fresh:
            path.write_text(key, encoding='utf-8')

    def _sizes(self) -> dict[str, int]:
        pixels = self.grid.rows.length * self.grid.columns.length
        return {
            'probs': pixels * np.dtype(self.dtype).itemsize,
            'mask': pixels,
            'edges': len(self.grid) * self._edge_bytes(),
        }

    def _edge_bytes(self) -> int:
        return 4 * self.grid.rows.ramp * self.grid.columns.size

    def _read_state(self) -> tuple[int, NDArray[np.float32]]:
        """Number of finished tiles, and what the last one passes to the next; 0 for an incomplete file."""
        path, shape = self.folder / 'state', (self.grid.rows.size, self.grid.columns.ramp)
        data = path.read_bytes() if path.is_file() else b''
        if len(data) != 8 + 4 * shape[0] * shape[1]:
            return 0, np.zeros(shape, np.float32)
        done, left = np.frombuffer(data, np.int64, 1), np.frombuffer(data, np.float32, offset=8)
        return int(done[0]), left.reshape(shape)

    def record(self, done: int) -> None:
        """Record that all tiles before a number are finished; at most every two seconds, and at the end."""
        if done < len(self.grid) and time.monotonic() - self._recorded < CHECKPOINT_SECONDS:
            return
        for file in self._files.values():
            os.fsync(file.fileno())
        partial = self.folder / 'state.new'
        with partial.open('wb') as file:
            file.write(np.int64(done).tobytes() + self.blender.left.tobytes())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / 'state')
        self.done = done
        self._recorded = time.monotonic()

    def add(
        self, tile: int, probs: NDArray[np.float32] | None, valid: NDArray[np.bool_], threshold: float
    ) -> None:
        """Add the next tile, and write the cell that it completes.

        Probabilities are None where all of a tile is nodata: its neighbours are then nodata where they overlap with it,
        and what is handed to them does not matter.
        """
        i, j = self.grid[tile]
        top, left = self.grid.rows.starts[i], self.grid.columns.starts[j]
        (y0, y1), (x0, x1) = self.grid.rows.cell(i), self.grid.columns.cell(j)
        cell = self.blender.add(tile, np.zeros(valid.shape, np.float32) if probs is None else probs)
        seen = valid[y0 - top : y1 - top, x0 - left : x1 - left]
        mask = np.where(seen, cell > np.float32(threshold), np.uint8(MASK_NODATA))
        for name, block in (('probs', stored_probs(cell, seen, self.dtype)), ('mask', mask)):
            file, item = self._files[name], block.itemsize
            for row, values in enumerate(np.ascontiguousarray(block), y0):
                file.seek((row * self.grid.columns.length + x0) * item)
                _write(file, values.data)

    def write_edge(self, tile: int, edge: NDArray[np.float32]) -> None:
        """Write what a tile passes to the one below it, (ramp, columns of the cell)."""
        self._files['edges'].seek(tile * self._edge_bytes())
        _write(self._files['edges'], np.ascontiguousarray(edge).data)

    def read_edge(self, tile: int, columns: int) -> NDArray[np.float32]:
        """Read it back."""
        ramp = self.grid.rows.ramp
        self._files['edges'].seek(tile * self._edge_bytes())
        data = self._files['edges'].read(4 * ramp * columns)
        return np.frombuffer(data, np.float32).reshape(ramp, columns)

    def read_rows(self, name: str, first: int, last: int) -> NDArray[np.generic]:
        """Rows of ``'probs'`` or ``'mask'`` as stored, (rows, columns)."""
        dtype = np.dtype(self.dtype if name == 'probs' else 'uint8')
        width = self.grid.columns.length
        self._files[name].seek(first * width * dtype.itemsize)
        data = self._files[name].read((last - first) * width * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(-1, width)

    def close(self) -> None:
        """Close the files and leave them for a later run."""
        self._opened.close()

    def discard(self) -> None:
        """Remove the folder."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> 'SceneJob':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write(file: IO[bytes], data: memoryview) -> None:
    """Write all of it: an unbuffered file may take less at once, for one on a disk that is nearly full."""
    view = memoryview(data).cast('B')
    while view:
        view = view[file.write(view) :]
