"""Runs a model over tiles: reads, predicts and writes at the same time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.geo.rasters import ScenePair
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.inference.resolution import Resampling
from hsonet_mm.inference.tta import augmented_probs
from hsonet_mm.scenes.job import SceneJob
from hsonet_mm.windows import WindowGrid, pad

__all__ = ['Tile', 'detect_tiles', 'read_tile', 'worker_threads']

Tile = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]
"""Both dates (size, size, bands) and where both are valid (size, size)."""

AHEAD = 2
"""Groups of tiles read before the model needs them, for each thread that reads."""

BEHIND = 3
"""Groups of tiles that may wait to be written."""


def read_tile(pair: ScenePair, grid: WindowGrid, index: int) -> Tile:
    """Read a tile; beyond the end of the scene its content is reflected."""
    i, j = grid[index]
    rows, columns = grid.rows.window(i), grid.columns.window(j)
    t1, t2, valid = pair.read(rows, columns)
    return pad(t1, grid), pad(t2, grid), pad(valid, grid)


def detect_tiles(
    detector: ChangeDetector,
    pair: ScenePair,
    grid: WindowGrid,
    job: SceneJob,
    batch: int = 4,
    tta: Sequence[str] = (),
    readers: int = 2,
    advance: Callable[[], None] = lambda: None,
    resampling: Resampling | None = None,
) -> None:
    """Predict all remaining tiles and pass them to the job in order.

    Which tiles go through the model together depends on their numbers alone, so that a run that was interrupted
    computes the same as one that was not. Tiles without a valid pixel do not reach the model, which sees the others as
    a whole, whatever the window of its detector. The detector is called from this thread only, the job from one of its
    own.
    """
    detector = detector.whole()

    def read(group: range) -> list[_Prepared]:
        return [_Prepared.make(read_tile(pair, grid, index), resampling) for index in group]

    def write(group: range, tiles: list[_Prepared], probs: list[NDArray[np.float32] | None]) -> None:
        for index, tile, values in zip(group, tiles, probs, strict=True):
            if values is not None and resampling is not None:
                values = resampling.back(values[None], grid.rows.size, grid.columns.size)[0]
            job.add(index, values, tile.valid(), detector.threshold)
            advance()
        job.record(group.stop)

    groups = [group for group in grid.groups(batch) if group.start >= job.done]
    with worker_threads(readers) as reading, worker_threads(1) as writing:
        coming = deque(reading.submit(read, group) for group in groups[: AHEAD * readers])
        going = deque[Future[None]]()
        for index, group in enumerate(groups):
            tiles = coming.popleft().result()
            for following in groups[index + AHEAD * readers :][:1]:
                coming.append(reading.submit(read, following))
            going.append(writing.submit(write, group, tiles, _predict(detector, tiles, tta)))
            if len(going) > BEHIND:
                going.popleft().result()
        while going:
            going.popleft().result()


@dataclass(frozen=True)
class _Prepared:
    """A tile as the model sees it, and where it is valid, in the little memory that many waiting tiles may take.

    Attributes:
        t1: First date, (size, size, bands).
        t2: Second date.
        seen: Whether any pixel is valid.
        valid: Gives where, (rows, columns) of the scene.
    """

    t1: NDArray[np.uint8]
    t2: NDArray[np.uint8]
    seen: bool
    valid: Callable[[], NDArray[np.bool_]]

    @classmethod
    def make(cls, tile: Tile, resampling: Resampling | None) -> '_Prepared':
        """Resample a tile for the model, and pack its mask."""
        t1, t2, valid = tile
        if resampling is not None:
            t1, t2 = (resampling.there(date[None])[0] for date in (t1, t2))
        seen = bool(valid.any())
        if seen and not valid.all():
            return cls(t1, t2, seen, partial(_unpacked, np.packbits(valid), valid.shape))
        return cls(t1, t2, seen, partial(np.full, valid.shape, seen))


def _unpacked(bits: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask from its bits."""
    return np.unpackbits(bits, count=shape[0] * shape[1]).view(bool).reshape(shape)


def _predict(
    detector: ChangeDetector, tiles: Sequence[_Prepared], tta: Sequence[str]
) -> list[NDArray[np.float32] | None]:
    """Probabilities of each tile as the model sees it, or None for those without a valid pixel."""
    wanted = [index for index, tile in enumerate(tiles) if tile.seen]
    results: list[NDArray[np.float32] | None] = [None] * len(tiles)
    if wanted:
        t1 = np.stack([tiles[index].t1 for index in wanted])
        t2 = np.stack([tiles[index].t2 for index in wanted])
        probs = augmented_probs(partial(detector.probs, channel_order='rgb'), t1, t2, tta)
        if not (probs.min() >= 0 and probs.max() <= 1):  # NaN is neither
            raise UserError(
                'the model predicts values that are not probabilities, because its training diverged or '
                'its export is broken: use another checkpoint'
            )
        for index, values in zip(wanted, probs, strict=True):
            results[index] = values
    return results


@contextmanager
def worker_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A thread pool that starts no further tasks after an error."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
