"""Processor time of commands on one thread, from the start of Python to its end."""

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from hsonet_mm.benchmark.inference import CONFIG, random_weights
from hsonet_mm.benchmark.timing import alternate, header, spread, table
from hsonet_mm.export.pipeline import export

__all__ = ['add_arguments', 'run']

CONSOLE = 'import sys; from hsonet_mm.cli import main; sys.exit(main(sys.argv[1:]))'
SIDE = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the part ``startup``."""
    parser.add_argument('--onnx', type=Path, help='an exported model [HSONet-lite, exported now]')
    parser.add_argument('--rounds', type=int, default=5, help='measurements of each that count [5]')


def run(args: argparse.Namespace) -> int:
    """Measure and print the table; returns 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = args.onnx
        if model is None:
            model = folder / 'model.onnx'
            export(CONFIG, random_weights(CONFIG, folder / 'random.pth'), model)
        images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
        paths = [folder / 'before.png', folder / 'after.png']
        for path, image in zip(paths, images, strict=True):
            cv2.imwrite(str(path), image)
        predict = [CONSOLE, 'predict', model, *paths, '-o', folder / 'out']
        commands = {
            'python -c pass': ['pass'],
            'hsonet --version': [CONSOLE, '--version'],
            'hsonet --help': [CONSOLE, '--help'],
            f'hsonet predict MODEL.onnx, {SIDE} x {SIDE}': predict,
        }
        env = {**os.environ, 'OMP_NUM_THREADS': '1'}
        call = partial(subprocess.run, check=True, capture_output=True, env=env)
        python = [sys.executable, '-c']
        calls = {name: partial(call, [*python, *map(str, command)]) for name, command in commands.items()}
        seconds = alternate(calls, args.rounds, 'children')
    print(f'Start of Python included\n{header(args.rounds, "processor")}\n')
    empty = median(seconds['python -c pass'])
    rows = [[name, spread(times), f'{median(times) - empty:.2f}'] for name, times in seconds.items()]
    print(table(['command', 'seconds', 'beyond Python'], rows))
    return 0
