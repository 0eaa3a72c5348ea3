"""Runs a model over tiles: reads, predicts and writes at the same time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

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

    def read(group: range) -> list[Tile]:
        return [read_tile(pair, grid, index) for index in group]

    def write(group: range, tiles: list[Tile], probs: list[NDArray[np.float32] | None]) -> None:
        for index, tile, values in zip(group, tiles, probs, strict=True):
            job.add(index, values, tile[2], detector.threshold)
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
            going.append(writing.submit(write, group, tiles, _predict(detector, tiles, tta, resampling)))
            if len(going) > BEHIND:
                going.popleft().result()
        while going:
            going.popleft().result()


def _predict(
    detector: ChangeDetector, tiles: Sequence[Tile], tta: Sequence[str], resampling: Resampling | None
) -> list[NDArray[np.float32] | None]:
    """Probabilities of each tile, or None for those without a valid pixel."""
    wanted = [index for index, (_, _, valid) in enumerate(tiles) if valid.any()]
    results: list[NDArray[np.float32] | None] = [None] * len(tiles)
    if wanted:
        t1 = np.stack([tiles[index][0] for index in wanted])
        t2 = np.stack([tiles[index][1] for index in wanted])
        if resampling is None:
            probs = augmented_probs(detector, t1, t2, tta)
        else:
            probs = augmented_probs(detector, resampling.there(t1), resampling.there(t2), tta)
            probs = resampling.back(probs, *t1.shape[1:3])
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
