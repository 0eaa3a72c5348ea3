"""A scene as tiles that a page can load from the disk, from full resolution to one tile.

Level 0 has the pixels of the scene; each level halves the one below it, rounding up, until all fits into one tile.
A pixel is the mean of those of the four below it that have a value.

Both dates are JPEG files, ``before/<level>/<row>_<column>.jpg``. Probabilities are needed as numbers, to be compared
with a threshold, and a page from the disk cannot read them from files: ``fetch`` is refused for ``file://``, and pixels
of a picture from there may be drawn, but not read back. Scripts are allowed. So each tile of probabilities is a script,
``probs/<level>/<row>_<column>.js``, that hands over base64 of its deflated bytes. They are not a PNG in a data URL,
because browsers that guard against fingerprints add noise to pixels that are read back. [our choice]

Tiles without a value are not written.
"""

import base64
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.geo.change_map import PROBS_NODATA
from hsonet_mm.pages import encode
from hsonet_mm.viewer.source import NODATA

__all__ = ['QUALITY', 'TILE', 'Level', 'Pyramid', 'halve']

TILE = 512
"""Rows and columns of a tile."""

QUALITY = 85
"""Of JPEG."""
THREADS = min(4, os.cpu_count() or 1)

ReadBlock = Callable[[tuple[int, int], tuple[int, int]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Level:
    """One resolution of a scene, in pixels."""

    height: int
    width: int

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // TILE)

    @property
    def columns(self) -> int:
        """Columns of tiles."""
        return -(-self.width // TILE)

    def window(self, row: int, column: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of a tile, each the first and the one after the last."""
        top, left = row * TILE, column * TILE
        return (top, min(top + TILE, self.height)), (left, min(left + TILE, self.width))


class Pyramid:
    """Creates the tiles of a scene, reading each pixel once.

    Rows of tiles are made from top to bottom, and a row of the next level as soon as the two below it are there. What
    a tile hands to the next level lies on the disk until then. So memory does not depend on the scene.

    Args:
        read: From rows and columns to a block (H, W, 7) as of :meth:`hsonet_mm.viewer.source.SceneSource.read`;
            called from several threads.
        height: Rows of the scene.
        width: Columns of the scene.
        folder: Where the tiles go.

    Attributes:
        levels: The resolutions.
        written: Of each level, which tiles (rows, columns) have a value.
        top: The whole scene as one tile, when it is done.
    """

    def __init__(self, read: ReadBlock, height: int, width: int, folder: Path) -> None:
        self._read, self._folder = read, folder
        self.levels = [Level(height, width)]
        while max(height, width) > TILE:
            height, width = (height + 1) // 2, (width + 1) // 2
            self.levels.append(Level(height, width))
        self.written = [np.zeros((level.rows, level.columns), bool) for level in self.levels]
        self.top = np.zeros((0, 0, 7), np.uint8)

    def __len__(self) -> int:
        return sum(tiles.size for tiles in self.written)

    def build(self, advance: Callable[[], None] = lambda: None) -> None:
        """Write all tiles."""
        for index in range(len(self.levels)):
            for kind in ('before', 'after', 'probs'):
                (self._folder / kind / str(index)).mkdir(parents=True)
        pool = ThreadPoolExecutor(THREADS)
        try:
            self._row(len(self.levels) - 1, 0, pool, advance)
        finally:
            pool.shutdown(cancel_futures=True)

    def _row(self, level: int, row: int, pool: ThreadPoolExecutor, advance: Callable[[], None]) -> None:
        """Make a row of tiles, and before that the two rows below it."""
        if level:
            for below in range(2 * row, min(2 * row + 2, self.levels[level - 1].rows)):
                self._row(level - 1, below, pool, advance)
        tiles = pool.map(lambda column: self._tile(level, row, column), range(self.levels[level].columns))
        for column, written in enumerate(tiles):
            self.written[level][row, column] = written
            advance()

    def _tile(self, level: int, row: int, column: int) -> bool:
        """Make a tile; False if it has no value."""
        rows, columns = self.levels[level].window(row, column)
        block = self._join(level, row, column) if level else self._read(rows, columns)
        if level == len(self.levels) - 1:
            self.top = block
        probs = block[..., 6]
        if (probs == PROBS_NODATA).all():
            return False
        name = f'{level}/{row}_{column}'
        for kind, image in (('before', block[..., :3]), ('after', block[..., 3:6])):
            self._path(kind, level, row, column, 'jpg').write_bytes(encode(image, '.jpg', QUALITY))
        data = base64.b64encode(zlib.compress(probs.tobytes())).decode('ascii')
        script = self._path('probs', level, row, column, 'js')
        script.write_text(f'hsonetTile("{name}","{data}");\n', encoding='ascii')
        if level < len(self.levels) - 1:
            np.save(self._path('probs', level, row, column, 'npy'), halve(block))
        return True

    def _join(self, level: int, row: int, column: int) -> NDArray[np.uint8]:
        """Combine the results of the tiles below."""
        (top, bottom), (left, right) = self.levels[level].window(row, column)
        block = np.empty((bottom - top, right - left, 7), np.uint8)
        block[:] = NODATA
        for down in range(2):
            for across in range(2):
                path = self._path('probs', level - 1, 2 * row + down, 2 * column + across, 'npy')
                if path.is_file():
                    part = np.load(path)
                    y, x = down * TILE // 2, across * TILE // 2
                    block[y : y + part.shape[0], x : x + part.shape[1]] = part
                    path.unlink()
        return block

    def _path(self, kind: str, level: int, row: int, column: int, suffix: str) -> Path:
        return self._folder / kind / str(level) / f'{row}_{column}.{suffix}'


def halve(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of two by two pixels that have a value, rounded; (H, W, 7) to half of it, rounded up."""
    height, width = block.shape[:2]
    even = np.pad(block, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')
    parts = [even[y::2, x::2].astype(np.uint16) for y in range(2) for x in range(2)]
    valid = [part[..., 6:] != PROBS_NODATA for part in parts]
    count = np.sum(valid, axis=0, dtype=np.uint16)
    total = np.sum([part * seen for part, seen in zip(parts, valid, strict=True)], axis=0, dtype=np.uint16)
    mean = (total + count // 2) // np.maximum(count, 1)
    return np.where(count, mean, NODATA).astype(np.uint8)
