"""A progress bar with pixels per second and time left."""

import sys
import time
from typing import TextIO

__all__ = ['Progress']

_BAR = 24


class Progress:
    """Progress of one scene on a terminal; elsewhere nothing is shown.

    Args:
        total: Tiles of the scene.
        done: Tiles that an earlier run has done.
        pixels: Pixels that a tile adds to the result, on average.
        stream: Where to draw; by default the standard error stream.
    """

    def __init__(self, total: int, done: int, pixels: float, stream: TextIO | None = None) -> None:
        self._total, self._before, self._done, self._pixels = total, done, done, pixels
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()
        self._start = time.monotonic()
        self._drawn = 0.0

    def advance(self) -> None:
        """One tile more."""
        self._done += 1
        now = time.monotonic()
        if self._shown and (now - self._drawn > 0.2 or self._done == self._total):
            self._drawn = now
            print(f'\r{self.line(now - self._start)}', end='', file=self._stream, flush=True)

    def line(self, seconds: float) -> str:
        """What is drawn after so many seconds."""
        full = round(_BAR * self._done / self._total)
        rate = (self._done - self._before) / max(seconds, 1e-9)
        left = round((self._total - self._done) / rate) if rate else 0
        clock = f'{left // 3600}:{left // 60 % 60:02}:{left % 60:02}'
        return (
            f'[{"#" * full}{"." * (_BAR - full)}] {self._done / self._total:4.0%}  '
            f'{rate * self._pixels / 1e6:.2f} Mpx/s  {clock} left '
        )

    def close(self) -> None:
        """End the line."""
        if self._shown and self._drawn:
            print(file=self._stream)
