"""The progress display of all commands: a bar on a terminal, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ['progress_bar', 'track']

T = TypeVar('T')


@contextmanager
def progress_bar(
    text: str, total: int, done: int = 0, megapixels: float | None = None, shown: bool = True
) -> Iterator[Callable[[], None]]:
    """Show progress and remaining time on the standard error stream.

    Steps that an earlier run has done count; with the megapixels of a step the bar shows them per second. Yields a
    function to call after every step.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn

    class Rate(TextColumn):
        def render(self, task: Task) -> str:  # type: ignore[override]
            return f'{(task.speed or 0) * (megapixels or 0):.2f} Mpx/s'

    columns = [TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    rate = [Rate('')] if megapixels is not None else []
    with Progress(*columns, *rate, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(text, total=total, completed=done)
        yield lambda: progress.advance(task)


def track(items: Iterable[T], text: str, total: int) -> Iterator[T]:
    """Yield items and show their progress, see :func:`progress_bar`."""
    with progress_bar(text, total) as advance:
        for item in items:
            yield item
            advance()
