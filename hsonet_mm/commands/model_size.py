"""``tools/model_size.py``: parameters and MACs of configs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hsonet_mm.errors import UserError
from hsonet_mm.mistakes import guard
from hsonet_mm.model_size import build_untrained, macs, parameters

__all__ = ['main']

SMALLEST = 32
"""Pixels on a side that networks halve five times."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print parameters and MACs of configs as a table in Markdown; returns the exit code."""
    parser = argparse.ArgumentParser(description='Parameters and MACs of the models of configs.')
    parser.add_argument('configs', nargs='+', type=Path, metavar='CONFIG')
    parser.add_argument(
        '--size', nargs=2, type=int, default=(256, 256), metavar=('HEIGHT', 'WIDTH'), help='of the images'
    )
    return guard(_print_table, parser.parse_args(argv))


def _print_table(args: argparse.Namespace) -> int:
    height, width = args.size
    if min(args.size) < SMALLEST:
        raise UserError(f'invalid --size {height} {width}: expected {SMALLEST} pixels or more')
    print(f'| config | parameters (M) | GMACs, {height} x {width} |\n|---|---|---|')
    for config in args.configs:
        args.config = config  # what the guard names if something is wrong with it
        model = build_untrained(config)
        size = macs(model, (height, width))
        print(f'| {config.stem} | {parameters(model) / 1e6:.2f} | {size / 1e9:.2f} |', flush=True)
    return 0
