"""The reliability diagram of a calibration."""

from pathlib import Path

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.calibration import Reliability
from hsonet_mm.pages.svg import write_figure

__all__ = ['check_diagram', 'write_diagram']

SUFFIXES = ('.png', '.svg')


def check_diagram(path: Path) -> None:
    """Check that the diagram can be drawn."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"invalid diagram file '{path}': expected a name that ends in {' or '.join(SUFFIXES)}"
        )
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError:
        raise UserError('the diagram needs matplotlib: pip install "hsonet_mm[leaderboard]"') from None


def write_diagram(path: Path, before: Reliability, after: Reliability) -> None:
    """Draw the share of changed pixels over the probability, before and after, and the pixels below."""
    check_diagram(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 6), layout='constrained')
    curve, pixels = figure.subplots(2, height_ratios=[4, 1], sharex=True)
    curve.plot([0, 1], [0, 1], color='0.7', linestyle='--', label='reliable')
    for one, name, colour in ((before, 'before', '#b4464b'), (after, 'after', '#1f6f8b')):
        filled = one.pixels > 0
        label = f'{name}, calibration error {one.error:.4f}'
        curve.plot(one.confidence[filled], one.frequency[filled], marker='o', color=colour, label=label)
        pixels.stairs(one.pixels, [k / len(one.pixels) for k in range(len(one.pixels) + 1)], color=colour)
    curve.set(ylabel='share of changed pixels', xlim=(0, 1), ylim=(0, 1))
    curve.legend(loc='upper left')
    pixels.set(xlabel='probability of change', ylabel='pixels', yscale='log')
    write_figure(figure, path, dpi=150)
