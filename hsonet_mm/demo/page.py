"""The page of the demo: scores, failures by hard case, training and pictures in one HTML file."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.evaluation.hard_case_metric import ALARMED, FOUND, HardCaseRow
from hsonet_mm.files import write_text
from hsonet_mm.pages import COLOURS, STYLE, data_url

__all__ = ['Curve', 'Example', 'Report', 'draw_probs', 'write_page']

Points = list[tuple[int, float]]

VIEWS = {'t1': 'date 1', 't2': 'date 2', 'label': 'label', 'errors': 'prediction', 'probs': 'probability'}


@dataclass(frozen=True)
class Curve:
    """What a run logged.

    Attributes:
        loss: Iteration and training loss.
        zeta: Iteration and annealing value of EO-loss.
        val_f1: Iteration and F1 of "changed" on the validation split.
        val_threshold: Threshold of the highest F1 at the best validation.
    """

    loss: Points
    zeta: Points
    val_f1: Points
    val_threshold: float


@dataclass(frozen=True)
class Example:
    """One predicted pair.

    Attributes:
        name: Name of the pair.
        counts: Its confusion matrix, in pixels.
        images: The pictures named in VIEWS, (H, W) or (H, W, 3) BGR uint8.
    """

    name: str
    counts: Confusion
    images: dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
        scores: Threshold in words and figures at it.
        hard_cases: Result by kind of object.
        curve: The training.
        examples: Predicted pairs.
        images: Number of pairs that were scored.
    """

    scores: list[tuple[str, dict[str, Any]]]
    hard_cases: list[HardCaseRow]
    curve: Curve
    examples: list[Example]
    images: int


def draw_probs(probs: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour probabilities from dark (0) to light (1).

    Args:
        probs: (H, W), in [0, 1].

    Returns:
        (H, W, 3), BGR.
    """
    return np.asarray(
        cv2.applyColorMap((probs * 255).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS), np.uint8
    )


def write_page(path: Path, report: Report) -> Path:
    """Write the page, pictures included.

    Args:
        path: The HTML file; one that is there is replaced.
        report: What to show.
    """
    f1 = report.scores[0][1]['f1']
    body = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>HSONet demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>
<h1>HSONet demo: changed F1 {f1:.4f}</h1>
<p>HSONet-lite, trained on generated aerial scenes, on the {report.images} test pairs that it has not seen.
"Changed" means that a building appeared or vanished. Generated scenes are not photographs: these figures show that the
installation works and where the model fails, not how well it does on real data.</p>
<h2>Scores</h2>{_scores(report)}
<h2>Objects</h2>{_objects(report)}
<h2>Where does the model fail?</h2>{_hard_cases(report.hard_cases)}
<h2>Predictions, the worst first</h2>{_examples(report)}
<h2>Training</h2>{_curve(report.curve)}
</body></html>
"""
    write_text(path, body)
    return path


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are HTML, those that start with ``<td`` bring their own tag."""
    head = ''.join(f'<th>{cell}</th>' for cell in header)
    lines = [''.join(cell if cell.startswith('<td') else f'<td>{cell}</td>' for cell in row) for row in rows]
    return f'<div class="scroll"><table><tr>{head}</tr><tr>{"</tr><tr>".join(lines)}</tr></table></div>'


def _scores(report: Report) -> str:
    names = {'precision': 'precision', 'recall': 'recall', 'f1': 'F1', 'iou': 'IoU', 'kappa': 'kappa'}
    rows = [[name, *(f'{one[key]:.4f}' for key in names)] for name, one in report.scores]
    return _table(['threshold', *names.values()], rows)


def _objects(report: Report) -> str:
    """Objects at each threshold, then by size and by kind of change at the first."""
    names = {'precision': 'precision', 'recall': 'recall', 'f1': 'F1', 'ap': 'average precision'}
    rows = [[name, *(f'{one["objects"][key]:.4f}' for key in names)] for name, one in report.scores]
    first = report.scores[0][1]['objects']
    groups = [
        [
            f'{one["group"]} px' if one['kind'] == 'size' else one['group'].replace('_', ' '),
            *(f'{one[key]:,}' for key in ('labelled', 'found', 'false_alarms')),
            *('' if one[key] is None else f'{one[key]:.1%}' for key in ('recall', 'precision')),
        ]
        for one in first['groups']
    ]
    heads = ['objects', 'labelled', 'found', 'false alarms', 'recall', 'precision']
    return (
        f'{_table(["threshold", *names.values()], rows)}'
        f'<h3>By size and kind, at threshold {report.scores[0][0]}</h3>{_table(heads, groups)}'
        f'<p>An object is a connected region of {first["min_area"]} pixels or more. A predicted and a labelled one '
        f'match where their intersection over union exceeds {first["matched_above_iou"]}; a false alarm is counted at '
        'the kind that it covers most of. Average precision ranks the predicted objects by their mean probability.</p>'
    )


def _hard_cases(rows: Sequence[HardCaseRow]) -> str:
    """Two tables: how much of the changes is found, how much of the rest is mistaken for one."""
    tables = []
    for changed, title, pixel_rate, object_rate, style in (
        (True, 'Changes: what is found', 'of the pixels', 'of the objects', 'bar'),
        (False, 'No changes: what is mistaken for one', 'of the pixels', 'of the objects', 'bar bad'),
    ):
        lines = [
            [
                row.kind.replace('_', ' '),
                f'{row.objects:,}',
                f'{row.pixel_rate:.2%}',
                f'{row.object_rate:.1%}'
                f'<span class="{style}"><i style="width:{row.object_rate:.1%}"></i></span>',
                f'<td class="text">{html.escape(row.description)}</td>',
            ]
            for row in rows
            if row.changed == changed and row.objects
        ]
        tables.append(f'<h3>{title}</h3>{_table(["kind", "number", pixel_rate, object_rate, ""], lines)}')
    return (
        f'{"".join(tables)}<p>At threshold 0.5. A changed object counts as found when {FOUND:.0%} of its '
        f'pixels are, an unchanged one as mistaken when {ALARMED:.0%} of them are.</p>'
    )


def _examples(report: Report) -> str:
    """All pairs, worst F1 first; those without a change and without an alarm last."""

    def order(example: Example) -> float:
        counts = example.counts
        return counts.f1 if counts.tp + counts.fp + counts.fn else 1.0

    legend = ''.join(
        f'<span class="key" style="background:rgb{colour}"></span>{name}' for name, colour in COLOURS.items()
    )
    parts = [
        f'<p>The first {len(report.examples)} pairs of the test split at threshold 0.5. '
        f'Colours of the prediction:{legend}. Probability: dark is 0, yellow is 1.</p>'
    ]
    for example in sorted(report.examples, key=order):
        counts = example.counts
        figures = [
            _figure(image, f'{VIEWS[name]} of {example.name}', VIEWS[name], photo=name in ('t1', 't2'))
            for name, image in example.images.items()
        ]
        parts.append(
            f'<h3>{html.escape(example.name)}: F1 {order(example):.3f}</h3>'
            f'<p>{counts.fn:,} pixels missed, {counts.fp:,} false alarms, {counts.tp:,} found</p>'
            f'<div class="views">{"".join(figures)}</div>'
        )
    return ''.join(parts)


def _figure(image: NDArray[np.uint8], alt: str, caption: str, photo: bool) -> str:
    return (
        f'<figure><img src="{data_url(image, ".jpg" if photo else ".png")}" alt="{html.escape(alt)}">'
        f'<figcaption>{caption}</figcaption></figure>'
    )


def _curve(curve: Curve) -> str:
    """Loss (relative to its highest value), zeta and validation F1 over the iterations, as SVG."""
    top = max((value for _, value in curve.loss), default=0.0) or 1.0
    last = max((step for points in (curve.loss, curve.val_f1) for step, _ in points), default=0) or 1
    width, height, left, bottom = 520, 220, 40, 24
    lines = [
        f'<line x1="{left}" x2="{left + width}" y1="{y:.0f}" y2="{y:.0f}" stroke="#8884"/>'
        f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{share:g}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
        for y in [10 + (1 - share) * height]
    ]
    series = (
        (f'training loss / {top:.2f}', '#8a8a8a', [(step, value / top) for step, value in curve.loss]),
        ('zeta of EO-loss', '#eda100', curve.zeta),
        ('validation F1', '#2a78d6', curve.val_f1),
    )
    legend = ''
    for name, colour, points in series:
        spots = [(left + step / last * width, 10 + (1 - value) * height) for step, value in points]
        path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in spots)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if points is curve.val_f1:
            lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in spots]
        legend += f'<span class="key" style="background:{colour}"></span>{name}'
    lines.append(
        f'<text x="{left + width}" y="{height + bottom + 6}" text-anchor="end">iteration {last}</text>'
    )
    best = max(curve.val_f1, key=lambda point: point[1])
    return (
        f'<svg viewBox="0 0 {left + width + 10} {height + bottom + 12}" role="img" '
        f'aria-label="training curves">{"".join(lines)}</svg><p>{legend}</p>'
        f'<p>The checkpoint of iteration {best[0]} was taken: validation F1 {best[1]:.4f}.</p>'
    )
