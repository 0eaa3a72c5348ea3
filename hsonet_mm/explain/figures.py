"""The figures of the page, drawn by matplotlib."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.explain.features import KINDS, Embedding
from hsonet_mm.explain.views import View
from hsonet_mm.images import ImagePair, first_three, to_bgr
from hsonet_mm.inference.pairs import draw_overlay
from hsonet_mm.pages import reduced
from hsonet_mm.pages.svg import INK, draw_in_ink, legend_beside, new_figure, stack_shares, write_figure
from hsonet_mm.training_log import SHARES

__all__ = [
    'embedding_figure',
    'pair_figure',
    'relation_figure',
    'shares_figure',
    'view_figure',
    'write_picture',
]

LARGEST = 512
"""Side to which photos are reduced, in pixels."""
CELL = 1.75
"""Side of a small picture, in inches."""
SCALE = 'viridis'
"""Of probabilities and relations, from 0 to 1; even in lightness, so that the colour-blind read it as well."""
HEAT = 'inferno'
"""Of Grad-CAM, from nothing to the largest value."""
COLOURS = dict(SHARES.values())
MARKERS = dict(zip(KINDS, ('o', '^', 's'), strict=True))


def pair_figure(pair: ImagePair) -> Any:
    """Both dates side by side."""
    figure = new_figure(2 * 2 * CELL, 2 * CELL + 0.3)
    for axes, image, name in zip(figure.subplots(1, 2), (pair.t1, pair.t2), ('before', 'after'), strict=True):
        _photo(axes, first_three(image))
        axes.set_title(name, fontsize=9, color=INK)
    return figure


def view_figure(view: View) -> Any:
    """Results of a network on a pair: probability and mask, relation maps of both dates by level, Grad-CAM."""
    cams = math.ceil(len(view.cam) / 2)
    columns = 1 + len(view.relations) + cams
    figure = new_figure(CELL * columns + 1.1, 2 * CELL + 0.9)
    grid = figure.subplots(2, columns, squeeze=False)
    height, width = view.prediction.probs.shape
    after = first_three(view.pair.t2)

    _map(grid[0, 0], view.prediction.probs, (height, width), (height, width))
    grid[0, 0].set_title('probability', fontsize=8, color=INK)
    _photo(grid[1, 0], draw_overlay(to_bgr(after), view.prediction.mask)[..., ::-1])
    grid[1, 0].set_title(f'above {view.prediction.threshold:.2f}', fontsize=8, color=INK)
    for column, (level, dates) in enumerate(view.relations.items(), 1):
        rows, cols = (math.ceil(size * n / whole) for size, n, whole in zip(
            (height, width), dates.shape[1:], view.padded, strict=True))  # fmt: skip
        for axes, values, date in zip(grid[:, column], dates.numpy(), ('before', 'after'), strict=True):
            _map(axes, values, view.padded, (height, width))
            seen = values[:rows, :cols]
            axes.set_title(f'relation {level}, {date}', fontsize=8, color=INK)
            axes.set_xlabel(
                f'{seen.min():.2f} to {seen.max():.2f}, mean {seen.mean():.2f}', fontsize=7, color=INK
            )
    largest = max(float(values.max()) for values in view.cam.values())
    spots = grid[:, -cams:].T.ravel()
    for axes, (name, values) in zip(spots, view.cam.items(), strict=False):
        image = first_three(view.pair.t1) if name.startswith('before') else after
        _photo(axes, _heated(image, values / (largest or 1)))
        axes.set_title(f'Grad-CAM, {name}', fontsize=8, color=INK)
        axes.set_xlabel(f'up to {values.max() / (largest or 1):.2f} of the largest', fontsize=7, color=INK)
    for axes in spots[len(view.cam) :]:
        axes.set_axis_off()
    _colour_bars(figure, grid)
    return figure


def shares_figure(records: Sequence[Mapping[str, Any]], snapshots: Sequence[int]) -> Any | None:
    """Shares of the gradient under EO-loss over a training, with lines at snapshots; None where none are logged."""
    logged = [one for one in records if SHARES.keys() <= one.keys()]
    if not logged:
        return None
    figure = new_figure(7.2, 3)
    axes = figure.subplots()
    steps = [one['step'] for one in logged]
    stack_shares(axes, steps, [[one[key] for one in logged] for key in SHARES])
    edges = [(one['step'], 100 * one['eo_grad_edges']) for one in logged if 'eo_grad_edges' in one]
    if edges:
        axes.plot(*zip(*edges, strict=True), '--', color=INK, linewidth=1.2, label='edges, of all three')
    for number, step in enumerate(snapshots):
        axes.axvline(step, color=INK, linewidth=0.8, linestyle=':', label=None if number else 'snapshots')
    draw_in_ink(axes)
    legend_beside(axes)
    return figure


def relation_figure(names: Sequence[str], relations: Sequence[Mapping[str, NDArray[np.float32]]],
                    kind: NDArray[np.int64]) -> Any | None:  # fmt: skip
    """Mean relation of the kinds of pixels by network, a plot a level; None if no network has an association."""
    levels = sorted({level for one in relations for level in one})
    if not levels:
        return None
    figure = new_figure(1.9 * len(levels) + 1.4, 2.6)
    plots = figure.subplots(1, len(levels), squeeze=False, sharey=True)[0]
    for axes, level in zip(plots, levels, strict=True):
        having = [number for number, one in enumerate(relations) if level in one]
        for index, name in enumerate(KINDS):
            means = [float(relations[number][level][kind == index].mean()) for number in having]
            axes.plot(having, means, color=COLOURS[name], marker=MARKERS[name], markersize=4, label=name)
        axes.set(ylim=(-0.03, 1.03), xlim=(-0.3, len(names) - 0.7))
        axes.set_title(level, fontsize=9)
        axes.set_xticks(range(len(names)), names, rotation=45, ha='right', fontsize=7)
        draw_in_ink(axes)
    plots[0].set_ylabel('mean relation', color=INK, fontsize=9)
    legend_beside(plots[-1])
    return figure


def embedding_figure(names: Sequence[str], embeddings: Sequence[Embedding]) -> Any:
    """Features in the plane, a plot for each network with its silhouette score under it."""
    columns = min(3, len(embeddings))
    rows = math.ceil(len(embeddings) / columns)
    figure = new_figure(2.6 * columns + 1.2, 3.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, name, embedding in zip(grid.ravel(), names, embeddings, strict=False):
        for index, kind in enumerate(KINDS):
            points = embedding.points[embedding.kind == index]
            axes.scatter(
                *points.T, s=7, marker=MARKERS[kind], color=COLOURS[kind], linewidths=0, alpha=0.7, label=kind
            )
        axes.set_box_aspect(1)
        draw_in_ink(axes)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.spines[:].set_alpha(0.3)
        axes.set_title(name, fontsize=9, color=INK)
        parts = ', '.join(f'{kind.split()[0]} {score:.2f}' for kind, score in embedding.by_kind.items())
        axes.set_xlabel(f'silhouette {embedding.silhouette:.3f}\n({parts})', fontsize=7.5, color=INK)
    for axes in grid.ravel()[len(embeddings) :]:
        axes.set_axis_off()
    legend_beside(grid[0, -1])
    return figure


def write_picture(figure: Any, path: Path) -> None:
    """Write a figure on a white background; the suffix of the path selects the format: .png, .webp, .svg, .pdf."""
    figure.patch.set_alpha(1)
    write_figure(figure, path, dpi=110, facecolor='white', bbox_inches='tight')


def _photo(axes: Any, image: NDArray[np.uint8]) -> None:
    """Draw an RGB image, reduced where it is large."""
    height, width = image.shape[:2]
    axes.imshow(reduced(image, LARGEST), extent=(0, width, height, 0), interpolation='none')
    _bare(axes)


def _map(axes: Any, values: NDArray[np.float32], covered: tuple[int, int], shown: tuple[int, int]) -> None:
    """Draw a map of [0, 1] that covers an image and its padding, as far as the image goes."""
    axes.imshow(
        values, cmap=SCALE, vmin=0, vmax=1, extent=(0, covered[1], covered[0], 0), interpolation='none'
    )
    axes.set(xlim=(0, shown[1]), ylim=(shown[0], 0))
    _bare(axes)


def _bare(axes: Any) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _heated(image: NDArray[np.uint8], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A pale grey image overlaid with the colours of a map in [0, 1], whose opacity grows with the value."""
    from matplotlib import colormaps

    grey = (128 + image.mean(axis=2, keepdims=True) / 2) / 255
    heat = colormaps[HEAT](values)[..., :3]
    weight = np.sqrt(values)[..., None] * 0.9
    return ((grey * (1 - weight) + heat * weight) * 255).round().astype(np.uint8)


def _colour_bars(figure: Any, grid: Any) -> None:
    from matplotlib.cm import ScalarMappable

    for row, cmap, label in ((0, SCALE, 'probability, relation'), (1, HEAT, 'Grad-CAM, of the largest')):
        bar = figure.colorbar(ScalarMappable(cmap=cmap), ax=grid[row].tolist(), fraction=0.02, pad=0.01)
        bar.set_label(label, color=INK, fontsize=7)
        bar.ax.tick_params(colors=INK, labelsize=7)
        bar.outline.set_visible(False)
