"""The command line of the benchmarks."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

import torch

from hsonet_mm.mistakes import guard

__all__ = ['main']

PARTS = {
    'training': ('hsonet_mm.benchmark.training', 'seconds of a training step'),
    'losses': ('hsonet_mm.benchmark.losses', 'time and memory of EO-loss beside binary cross entropy'),
    'inference': ('hsonet_mm.benchmark.inference', 'pixels per second in PyTorch and of exported models'),
    'scene': ('hsonet_mm.benchmark.scene', 'memory, seams and speed of hsonet scene'),
    'startup': ('hsonet_mm.benchmark.startup', 'processor time of commands that do little'),
}
"""Parts: module with ``add_arguments(parser)`` and ``run(args)``, summary."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one part, without importing the packages of the others; returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(description='Benchmarks that compare alternatives within one run.')
    parts = parser.add_subparsers(required=True, metavar='PART')
    for name, (module, summary) in PARTS.items():
        part = parts.add_parser(name, help=summary, description=summary)
        part.add_argument('--threads', type=int, help="of PyTorch [PyTorch's own choice]")
        if name != 'startup':
            part.add_argument(
                '--clock',
                choices=['wall', 'processor'],
                default='wall',
                help='time that passes, or that the process computes: on a busy machine, with --threads 1 [wall]',
            )
        if argv[:1] == [name]:
            tool = import_module(module)
            tool.add_arguments(part)
            part.set_defaults(tool=tool)
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    return guard(args.tool.run, args)
