"""An empty plot, and a plot as SVG text that follows the colours of the page, light or dark."""

import math
from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.pages import svg
from hsonet_mm.pages.svg import INK, draw_in_ink

__all__ = ['INK', 'MISSING', 'log_axis', 'log_ticks', 'new_axes', 'to_svg']

MISSING = (
    'the report needs {name}, which is not installed: pip install "hsonet_mm[leaderboard]" brings it along'
)

DECADES = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7))
"""Ticks of a decade, from few to many."""


def new_axes(x_label: str, y_label: str, size: tuple[float, float] = (5.6, 3.9)) -> tuple[Any, Any]:
    """An empty figure whose ink is that of the page."""
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(MISSING.format(name='matplotlib')) from None
    figure = Figure(figsize=size, layout='constrained')
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.set(xlabel=x_label, ylabel=y_label)
    draw_in_ink(axes)
    return figure, axes


def log_axis(axes: Any) -> None:
    """A logarithmic x axis with plain numbers on it, for what is drawn so far."""
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    axes.set_xscale('log')
    low, high = axes.get_xlim()
    middle = math.sqrt(low * high)
    low, high = min(low, middle / 1.1), max(high, middle * 1.1)  # values nearly alike do not fill the axis
    axes.set_xlim(low, high)
    axes.set_xticks(log_ticks(low, high))
    axes.xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
    axes.xaxis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> list[float]:
    """Three to nine round numbers for a logarithmic axis: of each decade the same, or evenly spaced on a short one.

    Args:
        low: Where the axis begins, above 0.
        high: Where it ends, at least a fifth above ``low`` and below 10^9 times it.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in DECADES:
        ticks = [float(f'{step}e{decade}') for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) > 3:
            return ticks
    for decade in reversed(range(decades[0] - 2, decades[-1])):
        for step in (5, 2, 1):
            size = float(f'{step}e{decade}')
            ticks = [
                float(f'{step * n}e{decade}')
                for n in range(math.ceil(low / size), math.floor(high / size) + 1)
            ]
            if len(ticks) > 2:
                return ticks
    raise AssertionError(f'no ticks from {low} to {high}')


def to_svg(figure: Any, axes: Any, alt: str) -> str:
    """The figure as text, without a date, with the same ids in every build; the legend stands beside it."""
    axes.legend(
        loc='center left', bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor=INK, fontsize=8,
        handlelength=1.4,
    )  # fmt: skip
    return svg.to_svg(figure, alt)
