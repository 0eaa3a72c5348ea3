"""The page of the demo: scores, failures by hard case, training and pictures in one HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.evaluation.hard_case_metric import ALARMED, FOUND
from hsonet_mm.files import write_text
from hsonet_mm.pages import render

__all__ = ['Curve', 'Example', 'Report', 'draw_probs', 'write_page']

Points = list[tuple[float, float]]

VIEWS = {'t1': 'date 1', 't2': 'date 2', 'label': 'label', 'errors': 'prediction', 'probs': 'probability'}


@dataclass(frozen=True)
class Curve:
    """The log of a run: (iteration, value) of loss, zeta and validation F1, and the best validation threshold."""

    loss: Points
    zeta: Points
    val_f1: Points
    val_threshold: float


@dataclass(frozen=True)
class Example:
    """One predicted pair, with its counts in pixels and the pictures named in VIEWS."""

    name: str
    counts: Confusion
    images: dict[str, NDArray[np.uint8]]

    @property
    def f1(self) -> float:
        """F1 of the pair; 1 where there is no change and no alarm."""
        return self.counts.f1 if self.counts.tp + self.counts.fp + self.counts.fn else 1.0


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Scores are the figures at each threshold, in words; hard cases are rows of
    :func:`~hsonet_mm.evaluation.hard_case_metric.hard_case_rows`.
    """

    scores: list[tuple[str, dict[str, Any]]]
    hard_cases: list[dict[str, Any]]
    curve: Curve
    examples: list[Example]
    images: int


def draw_probs(probs: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour probabilities (H, W) from dark (0) to light (1), as (H, W, 3) in BGR."""
    return np.asarray(
        cv2.applyColorMap((probs * 255).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS), np.uint8
    )


def write_page(path: Path, report: Report) -> Path:
    """Write the page, pictures included."""
    objects = report.scores[0][1]['objects']
    text = render(
        'demo/page.html.j2',
        report=report,
        scores=_rows(report.scores, ('precision', 'recall', 'f1', 'iou', 'kappa')),
        objects=objects,
        object_scores=_rows(
            [(name, one['objects']) for name, one in report.scores], ('precision', 'recall', 'f1', 'ap')
        ),
        object_groups=[_group(one) for one in objects['groups']],
        found=FOUND,
        alarmed=ALARMED,
        examples=sorted(report.examples, key=lambda example: example.f1),
        views=VIEWS,
        curve=_plot(report.curve),
    )
    write_text(path, text)
    return path


def _rows(scores: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str]) -> list[list[str]]:
    return [[threshold, *(f'{one[name]:.4f}' for name in names)] for threshold, one in scores]


def _group(one: Mapping[str, Any]) -> list[str]:
    """A line of the table of objects by size and kind."""
    return [
        f'{one["group"]} px' if one['kind'] == 'size' else one['group'].replace('_', ' '),
        *(f'{one[key]:,}' for key in ('labelled', 'found', 'false_alarms')),
        *('' if one[key] is None else f'{one[key]:.1%}' for key in ('recall', 'precision')),
    ]


def _plot(curve: Curve) -> dict[str, Any]:
    """Loss (relative to its highest value), zeta and validation F1 over the iterations, in pixels of the plot."""
    width, height = 520, 220
    top = max((value for _, value in curve.loss), default=0.0) or 1.0
    last = max((step for points in (curve.loss, curve.val_f1) for step, _ in points), default=0) or 1

    def place(points: Points) -> Points:
        return [(40 + step / last * width, 10 + (1 - value) * height) for step, value in points]

    loss = [(step, value / top) for step, value in curve.loss]
    lines = [
        {'name': f'training loss / {top:.2f}', 'colour': '#8a8a8a', 'points': place(loss), 'marked': False},
        {'name': 'zeta of EO-loss', 'colour': '#eda100', 'points': place(curve.zeta), 'marked': False},
        {'name': 'validation F1', 'colour': '#2a78d6', 'points': place(curve.val_f1), 'marked': True},
    ]
    best = max(curve.val_f1, key=lambda point: point[1])
    grid = [(share, 10 + (1 - share) * height) for share in (0, 0.25, 0.5, 0.75, 1)]
    return {'width': width, 'height': height, 'last': last, 'lines': lines, 'grid': grid, 'best': best}
