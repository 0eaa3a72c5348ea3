"""Timing of functions in alternation, so that other load affects all of them, and tables of the results."""

import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch

from hsonet_mm.machine import device_name, timed

__all__ = ['CLOCKS', 'alternate', 'header', 'speedups', 'spread', 'table']

CLOCKS: dict[str, Callable[[], float]] = {
    'wall': time.perf_counter,
    'processor': time.process_time,
    'children': lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]),
}
"""Clocks by name: time that passes; that this process computes, in all its threads; that the processes which it started
have computed, counted when they end."""


def alternate(
    functions: Mapping[str, Callable[[], object]], rounds: int, clock: str = 'wall'
) -> dict[str, list[float]]:
    """Seconds of every call of the functions, called in alternation; the first round warms up and is not counted.

    Args:
        functions: What to measure, by name.
        rounds: Calls of each that count.
        clock: One of :data:`CLOCKS`.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            taken = timed(function, CLOCKS[clock])
            if number:
                seconds[name].append(taken)
    return seconds


def speedups(seconds: Mapping[str, Sequence[float]], reference: str) -> dict[str, list[float]]:
    """How many times as fast as a reference each is, round by round."""
    return {
        name: [one / other for one, other in zip(seconds[reference], times, strict=True)]
        for name, times in seconds.items()
    }


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median of values and, in brackets, their range."""
    return f'{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})'


def header(rounds: int, clock: str = 'wall') -> str:
    """The conditions of a measurement: machine, threads, versions, load and clock."""
    return (
        f'{device_name()}, PyTorch {torch.__version__}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; '
        f'{clock} time of {rounds} rounds in turns: median (range)'
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in aligned Markdown."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    lines.insert(1, ['-' * width for width in widths])
    return '\n'.join(
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + ' |'
        for cells in lines
    )
