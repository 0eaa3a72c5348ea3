"""The metric of this package: precision, recall, F1 and IoU of class "changed" over a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.confusion import Confusion, confusion, histograms, sweep
from hsonet_mm.evaluation.hard_cases import are_objects_typed, read_objects
from hsonet_mm.evaluation.object_report import object_metrics, object_report, object_table
from hsonet_mm.evaluation.objects import Objects, join, match_objects
from hsonet_mm.files import write_json
from hsonet_mm.labels import no_label
from hsonet_mm.logits import check_threshold
from hsonet_mm.registry import METRICS

__all__ = ['ChangeMetric', 'change_probs', 'format_table']

CURVE_STEP = 8
"""Step between the thresholds of the sweep in the JSON file."""
CURE = (
    'load them with hsonet_mm.MultiImgLoadAnnotations, '
    'or let a data set of Open-CD map them with format_seg_map="to_binary"'
)
"""The cure for labels that still contain 0 and 255."""


@dataclass(frozen=True)
class _Image:
    """The counts of one image: pixels, ignored ones, histograms (2, BINS), and objects."""

    counts: Confusion
    ignored: int
    histogram: Tensor | None
    objects: Objects | None


@METRICS.register_module()
class ChangeMetric(BaseMetric):
    """Precision, recall, F1 and IoU of "changed", overall accuracy and kappa, from counts over the data set.

    All figures are fractions in [0, 1] (kappa in [-1, 1]), not percent. The keys are ``changed/precision``,
    ``changed/recall``, ``changed/f1``, ``changed/iou``, ``changed/oa``, ``changed/kappa`` and, with the
    sweep, ``changed/best_threshold`` and ``changed/best_f1``, the threshold of the highest F1 on this data
    set, and beside a given ``threshold`` ``changed/f1_at_0.5``. A best threshold found on the test set flatters: choose
    it on val and pass it as ``threshold`` in test. With objects, ``changed/object_precision``,
    ``changed/object_recall``, ``changed/object_f1`` and ``changed/object_ap`` are added, see
    :mod:`hsonet_mm.evaluation.objects`. Figures that are 0 / 0 are 0, see
    :mod:`hsonet_mm.evaluation.confusion`.

    One image is one result, so the samples that pad the last batch over several processes are cut off and
    never counted twice.

    Args:
        protocol: Name of the test protocol, for the table and the JSON file: figures under different
            protocols (whole images, 256 tiles) must not be compared.
        threshold: Call a pixel changed where its probability is above this value in (0, 1). By default the
            model's own decision counts: ``pred_sem_seg``.
        sweep: Also find the threshold of the highest F1.
        objects: Also match objects, by size and, where the data set types them, by hard case.
        ignore_index: Label of the pixels that do not count.
        out_file: Where to write all figures and counts as JSON; each evaluation replaces the file.
        collect_device: Where results of several processes are collected, ``'cpu'`` or ``'gpu'``.
        prefix: What the names of the figures begin with.

    Raises:
        UserError: for a threshold outside (0, 1), and in use for a missing label, labels other than 0, 1 and
            ``ignore_index``, a label whose size is not that of the prediction, a model of more than two classes, and
            NaN.

    Example:
        >>> metric = ChangeMetric(sweep=False, objects=False)
        >>> label, pred = torch.tensor([[[1, 1, 0, 0]]]), torch.tensor([[[1, 0, 0, 0]]])
        >>> sample = {'gt_sem_seg': label, 'pred_sem_seg': pred, 'seg_logits': 8.0 * pred - 4}  # each (1, H, W)
        >>> metric.process({}, [{name: {'data': values} for name, values in sample.items()}])
        >>> scores = metric.evaluate(size=1)
        >>> scores['changed/precision'], scores['changed/recall'], round(scores['changed/f1'], 3)
        (1.0, 0.5, 0.667)
    """

    default_prefix = 'changed'

    def __init__(
        self,
        protocol: str = 'whole',
        threshold: float | None = None,
        sweep: bool = True,
        objects: bool = True,
        ignore_index: int = 255,
        out_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = 'changed',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_threshold(threshold)
        self.protocol = protocol
        self.threshold = threshold
        self.sweep = sweep
        self.objects = objects
        self.ignore_index = ignore_index
        self.out_file = out_file

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:  # noqa: ARG002
        """Count one batch."""
        for sample in data_samples:
            self.results.append(self._count(sample))

    def _count(self, sample: dict[str, Any]) -> _Image:
        """Count one image."""
        if 'gt_sem_seg' not in sample:
            raise no_label(_paths(sample)[0])
        target = sample['gt_sem_seg']['data'].squeeze(0)
        pred = sample['pred_sem_seg']['data'].squeeze(0).to(target.device)
        if pred.shape != target.shape:
            raise UserError(
                f'{_name(sample)}: the label is {_size(target)} and the prediction {_size(pred)}; '
                'give labels of the size of their images'
            )
        unknown = target[(target != 0) & (target != 1) & (target != self.ignore_index)]
        if unknown.numel():
            raise UserError(
                f'{_name(sample)}: the label contains the value {int(unknown[0])}, but change labels are '
                f'0, 1 and {self.ignore_index}; {CURE}'
            )
        probs = change_probs(sample['seg_logits']['data']).to(target.device)
        if probs.isnan().any():
            raise UserError(f'{_name(sample)}: the prediction is NaN; train again with a lower learning rate')
        if self.threshold is not None:
            pred = probs > self.threshold
        histogram = None
        if self.sweep:
            histogram = torch.stack(histograms(probs, target, self.ignore_index)).int()
        ignored = int((target == self.ignore_index).sum())
        objects = self._match(sample, pred, probs, target) if self.objects else None
        return _Image(confusion(pred, target, self.ignore_index), ignored, histogram, objects)

    def _match(self, sample: dict[str, Any], pred: Tensor, probs: Tensor, target: Tensor) -> Objects:
        """Match the objects of one image."""
        image = Path(_paths(sample)[0])
        typed = read_objects(image, target.shape) if are_objects_typed(image) else None
        pred, probs, target = (one.cpu() for one in (pred == 1, probs, target))
        return match_objects(pred.numpy(), probs.numpy(), target.numpy(), typed, self.ignore_index)

    def compute_metrics(self, results: list[_Image]) -> dict[str, float]:
        """Sum up the images, print the table, write the JSON file."""
        logger: MMLogger = MMLogger.get_current_instance()
        counts = sum((one.counts for one in results), Confusion())
        report: dict[str, Any] = {
            'class': 'changed',
            'protocol': self.protocol,
            'threshold': 'model' if self.threshold is None else self.threshold,
            'images': len(results),
            'pixels': counts.total,
            'ignored_pixels': sum(one.ignored for one in results),
            **counts.metrics(),
        }
        figures = counts.metrics()
        stack = [one.histogram for one in results if one.histogram is not None]
        if stack:
            curve = sweep(*torch.stack(stack).sum(0))
            threshold, best = curve.best
            figures |= {'best_threshold': threshold, 'best_f1': best.f1}
            report |= {
                'best': {'threshold': threshold, **best.metrics()},
                'curve': [
                    {'threshold': limit, 'precision': one.precision, 'recall': one.recall, 'f1': one.f1}
                    for limit, one in curve.points[CURVE_STEP - 1 :: CURVE_STEP]
                ],
            }
            if self.threshold not in (None, 0.5):
                half = curve.confusions[curve.thresholds.index(0.5)]
                figures['f1_at_0.5'] = half.f1
                report['half'] = {'threshold': 0.5, **half.metrics()}
        report['counts'] = counts.counts()
        if matched := [one.objects for one in results if one.objects is not None]:
            objects = join(matched)
            figures |= object_metrics(objects)
            report['objects'] = object_report(objects)
        if counts.total and not counts.tp + counts.fn:
            logger.warning(
                'no pixel of the labels is changed, so recall, F1 and IoU are undefined; if the labels are '
                f'0/255, {CURE}'
            )
        logger.info('\n' + format_table(report))
        if self.out_file is not None:
            write_json(Path(self.out_file), report)
        return figures


def change_probs(scores: Tensor) -> Tensor:
    """Probability of change (H, W) from the ``seg_logits``, (1, H, W) or (2, H, W), that a model returns.

    A model with one channel already returns probabilities there, in spite of the name (MMSegmentation and
    Open-CD apply the sigmoid when they post-process); one with two returns logits, whose softmax is taken.
    """
    channels = scores.shape[0]
    if channels == 1:
        return scores[0].float()
    if channels == 2:
        return (scores[1].float() - scores[0].float()).sigmoid()
    raise UserError(f'the model predicts {channels} classes, but change detection has 2: set num_classes=2')


def format_table(report: dict[str, Any]) -> str:
    """Format the scores as a text table; the first row is at the threshold of the model or the given one."""
    names = {'precision': 'P', 'recall': 'R', 'f1': 'F1', 'iou': 'IoU', 'oa': 'OA', 'kappa': 'kappa'}
    threshold = report['threshold']
    rows = [(threshold if isinstance(threshold, str) else f'{threshold:.4f}', report)]
    if 'half' in report:
        rows.append(('0.5', report['half']))
    if 'best' in report:
        rows.append((f'best {report["best"]["threshold"]:.4f}', report['best']))
    lines = [
        f'class changed, protocol {report["protocol"]}: {report["images"]} images, '
        f'{report["pixels"]:,} pixels, {report["ignored_pixels"]:,} ignored',
        f'{"class":<8} {"threshold":<12}' + ''.join(f' {title:>8}' for title in names.values()),
    ]
    for label, figures in rows:
        lines.append(f'{"changed":<8} {label:<12}' + ''.join(f' {figures[name]:>8.4f}' for name in names))
    if 'objects' in report:
        lines += ['', object_table(report['objects'])]
    return '\n'.join(lines)


def _name(sample: dict[str, Any]) -> str:
    """Path of the label of a data sample, or of its images if it has none."""
    return sample.get('seg_map_path') or ' and '.join(_paths(sample))


def _paths(sample: dict[str, Any]) -> list[str]:
    """Paths of the image(s) of a data sample."""
    paths: str | list[str] = sample.get('img_path') or 'an image'
    return [paths] if isinstance(paths, str) else list(map(str, paths))


def _size(image: Tensor) -> str:
    return ' x '.join(map(str, image.shape))
