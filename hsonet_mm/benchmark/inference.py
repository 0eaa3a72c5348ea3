"""Pixels per second of a model in PyTorch and exported, in every runtime that is installed, and of other models.

All get the same tiles as bytes and return probabilities. Weights may be random: they change no speed.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch

from hsonet_mm import ChangeDetector
from hsonet_mm.benchmark.timing import alternate, header, speedups, spread, table
from hsonet_mm.export.pipeline import export
from hsonet_mm.export.quantize import quantize
from hsonet_mm.machine import has_bf16
from hsonet_mm.memory import keep_memory
from hsonet_mm.model_size import build_untrained

__all__ = ['add_arguments', 'exported', 'random_weights', 'run']

CONFIG = Path(__file__).parents[2] / 'configs' / 'hsonet_lite_levir.py'
RUNTIMES = {'onnxruntime': 'ONNX Runtime', 'openvino': 'OpenVINO'}
CALIBRATION_TILES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the part ``inference``."""
    parser.add_argument(
        'configs',
        nargs='*',
        type=Path,
        metavar='CONFIG',
        help='models; the first is exported too and is the reference [HSONet-lite]',
    )
    parser.add_argument('--checkpoint', type=Path, help='of the first model [random weights]')
    parser.add_argument('--onnx', type=Path, help='the first model, exported [exported now]')
    parser.add_argument('--int8', type=Path, help='the same in 8 bits [quantised now, calibrated on noise]')
    parser.add_argument(
        '--tile', type=int, nargs='+', default=[256, 512], help='sides of the tiles [256 512]'
    )
    parser.add_argument('--batch', type=int, default=4, help='tiles at once [4]')
    parser.add_argument('--rounds', type=int, default=9, help='measurements of each that count [9]')
    parser.add_argument(
        '--keep-memory', action='store_true', help='as the commands do: let glibc keep memory in PyTorch'
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print a table for each size; returns 0."""
    threads = args.threads or torch.get_num_threads()
    kept = args.keep_memory and keep_memory()
    with tempfile.TemporaryDirectory() as folder:
        detectors = dict(_detectors(args, threads, Path(folder)))
        for side in args.tile:
            rng = np.random.default_rng(0)
            t1, t2 = rng.integers(0, 256, (2, args.batch, side, side, 3), dtype=np.uint8)
            calls: dict[str, Callable[[], object]] = {
                name: partial(detector.probs, t1, t2, channel_order='rgb')
                for name, detector in detectors.items()
            }
            seconds = alternate(calls, args.rounds, args.clock)
            reference = next(iter(calls))
            pixels = args.batch * side**2 / 1e6
            print(f'Inference, {args.batch} x {side} x {side}{", glibc keeps memory" if kept else ""}')
            print(f'{header(args.rounds, args.clock)}\n')
            rows = [
                [name, f'{pixels / median(seconds[name]):.2f}', spread(ratios)]
                for name, ratios in speedups(seconds, reference).items()
            ]
            print(table(['model', 'Mpx/s', f'times as fast as {reference}'], rows), '\n')
    return 0


def _detectors(args: argparse.Namespace, threads: int, folder: Path) -> Iterator[tuple[str, ChangeDetector]]:
    """All measured models by name, the reference first."""
    precisions = ['fp32', 'bf16'] if has_bf16() else ['fp32']
    for index, config in enumerate(args.configs or [CONFIG]):
        first = index == 0
        checkpoint = args.checkpoint if first else None
        checkpoint = checkpoint or random_weights(config, folder / f'{index}.pth')
        for precision in precisions:
            detector = ChangeDetector.from_checkpoint(config, checkpoint, window='whole', precision=precision)
            yield f'{config.stem}, PyTorch {precision}', detector
        if first:
            files = exported(config, checkpoint, folder, args.onnx, args.int8)
            for runtime, title in RUNTIMES.items():
                if find_spec(runtime) is None:
                    continue
                for kind, path in files.items():
                    for precision in precisions if (runtime, kind) == ('openvino', 'fp32') else ['auto']:
                        one = ChangeDetector.from_onnx(
                            path, threads=threads, runtime=runtime, precision=precision
                        )
                        name = kind if precision == 'auto' else precision
                        yield f'{config.stem}, {title} {name}', one


def exported(
    config: Path, checkpoint: Path, folder: Path, onnx: Path | None = None, int8: Path | None = None
) -> dict[str, Path]:
    """The exported models by precision: the given files, the others exported to a folder."""
    if onnx is None:
        onnx = folder / 'model.onnx'
        export(config, checkpoint, onnx)
    if int8 is None:
        int8 = folder / 'int8.onnx'
        noise = np.random.default_rng(1).integers(0, 256, (CALIBRATION_TILES, 2, 256, 256, 3), dtype=np.uint8)
        label = np.zeros((256, 256), np.uint8)
        int8.write_bytes(quantize(onnx.read_bytes(), ((t1, t2, label) for t1, t2 in noise)))
    return {'fp32': onnx, 'int8': int8}


def random_weights(config: Path, path: Path) -> Path:
    """Write a checkpoint of an untrained model."""
    torch.manual_seed(0)
    torch.save(build_untrained(config).state_dict(), path)
    return path
