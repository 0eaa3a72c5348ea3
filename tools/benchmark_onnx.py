"""Pixels per second of an exported model in ONNX Runtime and of the same model in eager PyTorch, side by side.

Both get the same tiles as bytes and return probabilities, in turns, so that what else the machine does hits both.

    python tools/benchmark_onnx.py [configs/hsonet_lite_levir.py [CHECKPOINT]] [--threads 2]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import MODELS, DefaultScope

from hsonet_mm import ChangeDetector
from hsonet_mm.cli import guard
from hsonet_mm.commands.export import export
from hsonet_mm.config import read_config

ROOT = Path(__file__).parent.parent
TARGET = 1.3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?', type=Path, default=ROOT / 'configs' / 'hsonet_lite_levir.py')
    parser.add_argument('checkpoint', nargs='?', type=Path, help='[random weights]')
    parser.add_argument('--onnx', type=Path, help='the model, exported before [exported now]')
    parser.add_argument('--tile', type=int, default=256, help='height and width of a tile [256]')
    parser.add_argument('--batch', type=int, default=4, help='tiles at once [4]')
    parser.add_argument('--threads', type=int, default=2, help='threads of both [2]')
    parser.add_argument(
        '--rounds', type=int, default=15, help='measurements of each, after one to warm up [15]'
    )
    return guard(run, parser.parse_args())


def run(args: argparse.Namespace) -> int:
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = args.checkpoint or random_weights(args.config, Path(folder) / 'random.pth')
        path = args.onnx or Path(folder) / 'model.onnx'
        if args.onnx is None:
            export(args.config, checkpoint, path)
        detectors = {
            'PyTorch': ChangeDetector.from_checkpoint(args.config, checkpoint, window='whole'),
            'ONNX Runtime': ChangeDetector.from_onnx(path, threads=args.threads),
        }
        seconds = measure({name: one.probs for name, one in detectors.items()}, args)
    pixels = args.batch * args.tile**2
    print(
        f'{args.config.name}, batches of {args.batch} tiles of {args.tile} x {args.tile}, '
        f'{args.threads} threads, {args.rounds} rounds in turns, median (quartiles), megapixels per second'
    )
    for name, times in seconds.items():
        low, median, high = (pixels / 1e6 / value for value in reversed(statistics.quantiles(times, n=4)))
        print(f'{name:<14} {median:7.3f} ({low:.3f} - {high:.3f})')
    torch_times, onnx_times = seconds.values()
    ratios = [one / other for one, other in zip(torch_times, onnx_times, strict=True)]
    print(f'ONNX Runtime / PyTorch: {statistics.median(ratios):.2f} (target {TARGET})')
    return 0


def random_weights(config: Path, path: Path) -> Path:
    """Save a checkpoint of the model as it is before training, without its pre-trained weights."""
    cfg = read_config(config)
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'opencd')):
        torch.save(MODELS.build(cfg.model).state_dict(), path)
    return path


def measure(functions: dict[str, Callable], args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every round, the functions in turns."""
    rng = np.random.default_rng(0)
    t1, t2 = rng.integers(0, 256, (2, args.batch, args.tile, args.tile, 3), dtype=np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(args.rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function(t1, t2)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == '__main__':
    sys.exit(main())
