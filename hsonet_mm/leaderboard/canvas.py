"""An empty plot, and a plot as SVG text that follows the colours of the page, light or dark."""

import io
import math
import re
from html import escape
from typing import Any

from hsonet_mm.errors import UserError

__all__ = ['INK', 'log_axis', 'new_axes', 'to_svg']

INK = '#123456'
"""Stands for the text colour of the page, and is replaced by it."""


def new_axes(x_label: str, y_label: str, size: tuple[float, float] = (5.6, 3.9)) -> tuple[Any, Any]:
    """An empty figure whose ink is that of the page."""
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            'the report needs matplotlib, which is not installed: pip install "hsonet_mm[leaderboard]" brings it along'
        ) from None
    figure = Figure(figsize=size, layout='constrained')
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.tick_params(which='both', colors=INK)
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    for name, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(name in ('left', 'bottom'))
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
    from matplotlib import rc_context

    axes.legend(
        loc='center left', bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor=INK, fontsize=8,
        handlelength=1.4,
    )  # fmt: skip
    buffer = io.StringIO()
    with rc_context({'svg.hashsalt': 'hsonet_mm', 'svg.fonttype': 'none', 'font.family': 'sans-serif'}):
        figure.savefig(
            buffer,
            format='svg',
            metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')),
            bbox_inches='tight',
        )
    text = buffer.getvalue()
    box = re.search(r'viewBox="([^"]*)"', text)
    assert box
    body = re.sub(r'<metadata>.*?</metadata>', '', text[text.index('>', box.end()) + 1 :], flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', '<g', body)  # nothing refers to them, and another plot has them too
    body = re.sub(r'font: ([0-9.]+px) [^;\"]*', r'font: \1 system-ui, sans-serif', body)
    text = f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(alt)}">{body}'
    return text.replace(INK, 'currentColor')
