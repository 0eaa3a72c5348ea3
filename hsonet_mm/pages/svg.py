"""Plots as SVG in the colours of the page, light or dark, and plots as files."""

import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from hsonet_mm.files import write_bytes
from hsonet_mm.training_log import SHARES

__all__ = ['INK', 'draw_in_ink', 'legend_beside', 'new_figure', 'stack_shares', 'to_svg', 'write_figure']

INK = '#123456'
"""Stands for the text colour of the page, and is replaced by it."""
PLAIN: dict[Any, Any] = {'svg.hashsalt': 'hsonet_mm', 'svg.fonttype': 'none', 'font.family': 'sans-serif'}
"""Settings of matplotlib under which the same figure always gives the same SVG, with text as text."""


def new_figure(width: float, height: float) -> Any:
    """An empty transparent figure of matplotlib; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    figure.patch.set_alpha(0)
    return figure


def legend_beside(axes: Any) -> None:
    """Put the legend of axes beside them."""
    axes.legend(
        loc='center left', bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor=INK, fontsize=8,
        handlelength=1.4,
    )  # fmt: skip


def draw_in_ink(axes: Any) -> None:
    """Give axes of matplotlib the colour of the page's text, a light grid, and no frame."""
    axes.patch.set_alpha(0)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(INK)
    axes.tick_params(which='both', colors=INK)
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    for name, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(name in ('left', 'bottom'))


def stack_shares(axes: Any, steps: Sequence[float], shares: Sequence[Any]) -> None:
    """Stack the shares of the gradient under EO-loss, in the order of SHARES and in percent, over the iterations."""
    names, colours = zip(*SHARES.values(), strict=True)
    axes.stackplot(steps, 100 * np.array(shares), labels=names, colors=colours, alpha=0.8)
    axes.set(xlabel='iteration', ylabel='share of the gradient, %', ylim=(0, 100))
    axes.margins(x=0)


def to_svg(figure: Any, alt: str) -> str:
    """The figure as text, without a date, with the same ids in every build."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(PLAIN):
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


def write_figure(figure: Any, path: Path, **how: Any) -> None:
    """Write a figure in the format of the suffix of its path; ``how`` is passed to ``savefig``."""
    from matplotlib import rc_context

    buffer, kind = io.BytesIO(), path.suffix[1:].lower()
    with rc_context(PLAIN):
        figure.savefig(buffer, format=kind, metadata={'Date': None} if kind == 'svg' else None, **how)
    write_bytes(path, buffer.getvalue())
