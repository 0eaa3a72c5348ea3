"""An empty plot, and a plot as SVG text that follows the colours of the page, light or dark."""

import math
from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.pages import svg
from hsonet_mm.pages.svg import INK, draw_in_ink, legend_beside, new_figure

__all__ = ['INK', 'log_axis', 'new_axes', 'to_svg']


def new_axes(x_label: str, y_label: str, size: tuple[float, float] = (5.6, 3.9)) -> tuple[Any, Any]:
    """An empty figure whose ink is that of the page."""
    try:
        figure = new_figure(*size)
    except ImportError:
        raise UserError('the report needs matplotlib: pip install "hsonet_mm[leaderboard]"') from None
    axes = figure.add_subplot()
    axes.set(xlabel=x_label, ylabel=y_label)
    draw_in_ink(axes)
    return figure, axes


def log_axis(axes: Any) -> None:
    """A logarithmic x axis with plain numbers on it, for what is drawn so far."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    axes.set_xscale('log')
    low, high = axes.get_xlim()
    middle = math.sqrt(low * high)
    low, high = min(low, middle / 1.1), max(high, middle * 1.1)  # values nearly alike do not fill the axis
    axes.set_xlim(low, high)
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 3 else (1,)
    axes.xaxis.set_major_locator(
        MaxNLocator(6, steps=[1, 2, 5, 10]) if decades < 1 else LogLocator(subs=steps)
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
    axes.xaxis.set_minor_locator(NullLocator())


def to_svg(figure: Any, axes: Any, alt: str) -> str:
    """The figure as text, without a date, with the same ids in every build; the legend stands beside it."""
    legend_beside(axes)
    return svg.to_svg(figure, alt)
