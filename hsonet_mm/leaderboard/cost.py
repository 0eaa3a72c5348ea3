"""Cost of a model: size, time of a prediction, memory of its training.

``python -m hsonet_mm.leaderboard.cost CONFIG.py`` measures a model with random weights, and writes ``CONFIG.json``
beside the config. Size and time belong to a method and a device, not to a run: measured within runs that share a
machine, the times of one network differed by a half.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.device import get_device
from mmseg.structures import SegDataSample

from hsonet_mm import machine
from hsonet_mm.files import write_json
from hsonet_mm.machine import device_name, timed
from hsonet_mm.model_size import build_untrained, macs, parameters

__all__ = ['main', 'measure', 'peak_training_memory']

SIZE = 256
"""Pixels on a side of the images that a prediction is timed on."""
BATCH = 8
"""Pairs at once for the throughput."""
SECONDS = 1.0
"""A timing is repeated for so long, but no less and no more often than REPEATS."""
REPEATS = (3, 50)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the cost of the model of a config and write it; returns 0."""
    parser = argparse.ArgumentParser(description='Measure the cost of a model.')
    parser.add_argument('config', type=Path, metavar='CONFIG.py')
    parser.add_argument('--started', type=float, help='when the process was started; not used')
    config = parser.parse_args(argv).config
    figures = measure(build_untrained(config).to(get_device()))
    write_json(config.with_suffix('.json'), {**figures, 'timed_on': device_name()})
    return 0


def measure(model: Any) -> dict[str, float]:
    """Size and speed of a model.

    A prediction is what a user waits for: 8-bit images in the main memory are normalised, go through the network, and
    become a change map of their size. Its time is the median of the repeats after a warm-up; a GPU is waited for before
    either reading of the clock. The model is left in evaluation mode, and in mode ``whole``. Returns ``parameters``,
    ``macs`` of one pair of 256 x 256 pixels, ``latency_ms`` at batch 1, and ``throughput`` in pairs a second at batch
    8.
    """
    model.eval()
    model.test_cfg = type(model.test_cfg)(mode='whole')
    return {
        'parameters': parameters(model),
        'macs': macs(model, (SIZE, SIZE)),
        'latency_ms': 1000 * _seconds(model, 1),
        'throughput': BATCH / _seconds(model, BATCH),
    }


def peak_training_memory() -> float:
    """Peak memory in MiB since this process began.

    With a GPU, the tensors that PyTorch had allocated on it. Without one, the resident memory of the process,
    Python and the libraries included, which are about 400 MiB; the workers of data loaders are not.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return machine.peak_memory()


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
        timed(predict)
        times: list[float] = []
        while len(times) < REPEATS[0] or (sum(times) < SECONDS and len(times) < REPEATS[1]):
            times.append(timed(predict))
    return median(times)


if __name__ == '__main__':
    sys.exit(main())
