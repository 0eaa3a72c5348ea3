"""What a model costs: size, time of a prediction, memory of its training."""

import platform
import resource
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from mmseg.structures import SegDataSample

from hsonet_mm.evaluation.model_size import macs, parameters

__all__ = ['device_name', 'measure', 'peak_memory']

SIZE = 256
"""Pixels on a side of the images that a prediction is timed on."""
BATCH = 8
"""Pairs at once for the throughput."""
SECONDS = 1.0
"""A timing is repeated for so long, but no less and no more often than REPEATS."""
REPEATS = (3, 50)


def measure(model: Any) -> dict[str, float]:
    """Size and speed of a model.

    A prediction is what a user waits for: 8-bit images in the main memory are normalised, go through the network,
    and become a change map of their size. Its time is the median of the repeats after a warm-up; a GPU is waited
    for before either reading of the clock. Runs that share a machine slow each other down: for times that can be
    compared, execute one at a time.

    Args:
        model: A change detector on its device; left in evaluation mode, and in mode ``whole``.

    Returns:
        ``parameters``; ``macs`` of one pair of 256 x 256 pixels; ``latency_ms`` at batch 1; ``throughput`` in pairs
        a second at batch 8.
    """
    model.eval()
    model.test_cfg = type(model.test_cfg)(mode='whole')
    return {
        'parameters': parameters(model),
        'macs': macs(model, (SIZE, SIZE)),
        'latency_ms': 1000 * _seconds(model, 1),
        'throughput': BATCH / _seconds(model, BATCH),
    }


def peak_memory() -> float:
    """The most memory in MiB that was used at a moment since this process began.

    With a GPU, the tensors that PyTorch had allocated on it. Without one, the resident memory of the process,
    Python and the libraries included, which are about 400 MiB; the workers of data loaders are not.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == 'darwin' else 1024  # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def device_name() -> str:
    """What the figures were measured on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'{platform.machine()} CPU x {torch.get_num_threads()}'


def _seconds(model: Any, batch: int) -> float:
    """Median time of a prediction of one batch."""
    generator = torch.Generator().manual_seed(0)
    pairs = [
        torch.randint(0, 256, (6, SIZE, SIZE), dtype=torch.uint8, generator=generator) for _ in range(batch)
    ]
    meta = dict.fromkeys(('ori_shape', 'img_shape', 'pad_shape'), (SIZE, SIZE))

    def predict() -> None:
        model.test_step({'inputs': pairs, 'data_samples': [SegDataSample(metainfo=meta) for _ in pairs]})

    with torch.inference_mode():
        _timed(predict)
        times: list[float] = []
        while len(times) < REPEATS[0] or (sum(times) < SECONDS and len(times) < REPEATS[1]):
            times.append(_timed(predict))
    return median(times)


def _timed(function: Callable[[], None]) -> float:
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    synchronise()
    start = time.perf_counter()
    function()
    synchronise()
    return time.perf_counter() - start
