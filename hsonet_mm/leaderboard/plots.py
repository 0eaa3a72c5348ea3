"""The plots of the report: F1 against cost, precision-recall curves, the training, and the shares of the gradient."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.board import Records, numbers, rows_of
from hsonet_mm.leaderboard.summary import Spread, Standing
from hsonet_mm.pages.svg import INK, draw_in_ink, legend_beside, new_figure, stack_shares, to_svg
from hsonet_mm.training_log import SHARES

__all__ = ['cost_plot', 'gradient_plot', 'pr_plot', 'styles', 'training_plot']

COLOURS = ('#2a78d6', '#e6553c', '#2c9c5e', '#b8860b', '#9b59d0', '#d6488f', '#1f9ab0', '#8a6d4f')
"""Legible on white and on black."""
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')
"""Seven markers and eight colours: 56 methods look different, neighbours in both."""

Style = tuple[str, str]
"""Colour and marker."""


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """Give every method one colour and marker, the same in all plots of a block.

    The order is that of the spec, so that a ranking does not recolour them.
    """
    return {
        method: (COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])
        for index, method in enumerate(methods)
    }


def cost_plot(rows: Sequence[Standing], cost: str, looks: Mapping[str, Style]) -> str | None:
    """F1 against a cost, with the standard deviation over seeds where there is one.

    The dotted line joins the methods that no other one beats in both; there is none over latencies that were measured
    on different devices. None if no row has that cost, ``macs`` or ``latency_ms``.
    """
    unit, label = {'macs': (1e9, 'GMACs a pair at 256 x 256'), 'latency_ms': (1, 'latency of a pair, ms')}[
        cost
    ]
    points = {
        row.method: (_scaled(row.costs[cost], 1 / unit), _scaled(row.figures['f1'], 100))
        for row in rows
        if row.figures and row.costs.get(cost, Spread(0, None)).mean > 0
    }
    if not points:
        return None
    axes = _new_axes(label, 'F1 of "changed", %')
    devices = {row.timed_on for row in rows if row.method in points}
    if cost != 'latency_ms' or len(devices) < 2:
        front, best = [], -math.inf
        for x, y in sorted(points.values(), key=lambda point: (point[0].mean, -point[1].mean)):
            if y.mean > best:
                front.append((x.mean, y.mean))
                best = y.mean
        axes.plot(*zip(*front, strict=True), ':', color=INK, linewidth=1, alpha=0.6, zorder=1)
    for method, (x, y) in points.items():
        colour, marker = looks[method]
        axes.errorbar(x.mean, y.mean, y.std, x.std, fmt='none', ecolor=colour, elinewidth=1, capsize=3)
        axes.plot(x.mean, y.mean, marker, color=colour, markersize=7, label=method)
    _log_axis(axes)
    return _finished(axes, f'F1 against {label}')


def pr_plot(
    records: Records, protocol: str, rows: Sequence[Standing], looks: Mapping[str, Style]
) -> str | None:
    """Precision over recall: a thick line for the mean over seeds at one threshold, a thin one for every seed.

    An open mark stands at threshold 0.5, a filled one at the threshold chosen on val (means over seeds). None without a
    curve.
    """
    table = rows_of(records.curves, protocol=protocol)
    threshold, tp, fp, fn = (numbers(table[name]) for name in ('threshold', 'tp', 'fp', 'fn'))
    table = table.assign(threshold=threshold, recall=tp / (tp + fn), precision=tp / (tp + fp))
    table = table.dropna(subset=['recall', 'precision'])  # 0 / 0
    if table.empty:
        return None
    axes = _new_axes('recall, %', 'precision, %')
    recall = np.linspace(0.01, 1, 200)
    for f1 in (0.5, 0.6, 0.7, 0.8, 0.9):
        inside = recall > f1 / (2 - f1) + 1e-3
        axes.plot(
            100 * recall[inside], 100 * f1 * recall[inside] / (2 * recall[inside] - f1),
            color=INK, linewidth=0.6, alpha=0.25,
        )  # fmt: skip
        axes.annotate(
            f'F1 {100 * f1:.0f}', (99.5, 100 * f1 / (2 - f1)), color=INK, alpha=0.6, fontsize=7, ha='right'
        )
    for method in (row.method for row in rows):
        colour, marker = looks[method]
        curves = rows_of(table, method=method).sort_values('threshold').groupby('seed', sort=False)
        seeds = [one[['threshold', 'recall', 'precision']].to_numpy() for _, one in curves]
        if not seeds:
            continue
        _draw(
            axes,
            [100 * points[:, 1:] for points in seeds],
            100 * _mean_curve(seeds)[:, 1:],
            colour,
            label=method,
        )
        tested = rows_of(records.results, split='test', method=method, protocol=protocol)
        for rule, fill in (('half', 'none'), ('val', colour)):
            spots = rows_of(tested, threshold_rule=rule)
            x, y = (100 * numbers(spots[name]).mean() for name in ('recall', 'precision'))  # NaN is not drawn
            axes.plot(x, y, marker, color=colour, markerfacecolor=fill, markersize=7)
    axes.set(xlim=(0, 100), ylim=(0, 102))
    return _finished(axes, 'precision-recall curves')


def training_plot(records: Records, rows: Sequence[Standing], looks: Mapping[str, Style]) -> str | None:
    """F1 on the validation split over the training, each at its best threshold: thick the mean, thin the seeds.

    None if no validation was logged.
    """
    series = {row.method: _series(records, row.method, 'val_best_f1') for row in rows}
    if not any(series.values()):
        return None
    axes = _new_axes('iteration', 'best F1 of "changed" on val, %')
    for method, seeds in series.items():
        if seeds:
            colour, marker = looks[method]
            scaled = [points * [1, 100] for points in seeds]
            _draw(axes, scaled, _mean_curve(scaled), colour, marker=marker, markersize=4, label=method)
    return _finished(axes, 'F1 on the validation split over the training')


def gradient_plot(records: Records, method: str) -> str | None:
    """Stacked shares of the gradient under EO-loss, mean over seeds.

    None if the method logged no shares, because its loss is another one, or its seeds did at different iterations.
    """
    logged = {name: _series(records, method, name) for name in SHARES}
    if not all(logged.values()):
        return None
    means = [_mean_curve(seeds) for seeds in logged.values()]
    if not all(map(len, means)):
        return None
    steps = means[0][:, 0]
    axes = _new_axes('iteration', 'share of the gradient, %', size=(4.6, 2.6))
    stack_shares(axes, steps, [np.interp(steps, mean[:, 0], mean[:, 1]) for mean in means])
    return _finished(axes, f'shares of the gradient of {method}')


def _new_axes(x_label: str, y_label: str, size: tuple[float, float] = (5.6, 3.9)) -> Any:
    """Axes in a new figure, in the text colour of the page."""
    try:
        axes = new_figure(*size).add_subplot()
    except ImportError:
        raise UserError('the report needs matplotlib: pip install "hsonet_mm[leaderboard]"') from None
    axes.set(xlabel=x_label, ylabel=y_label)
    draw_in_ink(axes)
    return axes


def _log_axis(axes: Any) -> None:
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


def _finished(axes: Any, alt: str) -> str:
    """The figure of axes as SVG, with their legend."""
    legend_beside(axes)
    return to_svg(axes.figure, alt)


def _draw(axes: Any, seeds: Sequence[Any], mean: Any, colour: str, **how: Any) -> None:
    """A thick line for the mean over seeds, thin ones for the seeds if there are several; each (points, 2)."""
    for points in seeds if len(seeds) > 1 else ():
        axes.plot(*points.T, color=colour, linewidth=0.5, alpha=0.4)
    axes.plot(*mean.T, color=colour, linewidth=1.8, **how)


def _series(records: Records, method: str, column: str) -> list[Any]:
    """Iteration and value of every seed that logged the column, each (points, 2); of an iteration the last."""
    rows = rows_of(records.training, method=method)
    rows = rows.assign(value=numbers(rows[column]), iteration=numbers(rows['iteration'])).dropna(
        subset=['value']
    )
    rows = rows.drop_duplicates(['seed', 'iteration'], keep='last').sort_values('iteration')
    return [one[['iteration', 'value']].to_numpy() for _, one in rows.groupby('seed', sort=False)]


def _mean_curve(seeds: Sequence[Any]) -> Any:
    """Mean of curves at the positions (first column) that all of them have; empty if there is none."""
    positions = set.intersection(*(set(points[:, 0]) for points in seeds))
    return np.mean(
        [[point for point in points if point[0] in positions] for points in seeds], axis=0
    ).reshape(len(positions), seeds[0].shape[1])


def _scaled(value: Spread, factor: float) -> Spread:
    return Spread(value.mean * factor, None if value.std is None else value.std * factor)
