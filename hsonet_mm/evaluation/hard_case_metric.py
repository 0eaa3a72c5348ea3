"""Results by hard case: recall of kinds of change, and false alarms by kind of pseudo-change.

Needs a data set whose objects are typed, as :func:`hsonet_mm.demo.generate` writes it: beside ``A``, ``B``
and ``label`` of a split a folder ``objects`` with an instance map ``<stem>.png`` and a list ``<stem>.json``.
All of it is our own choice; the paper only names the kinds.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from hsonet_mm.evaluation.breakdown import FOUND, Group, sum_groups
from hsonet_mm.evaluation.change_metric import change_probs
from hsonet_mm.evaluation.hard_cases import BACKGROUND, CASES, read_objects
from hsonet_mm.files import write_json
from hsonet_mm.logits import check_threshold
from hsonet_mm.registry import METRICS

__all__ = [
    'ALARMED',
    'FOUND',
    'HardCaseMetric',
    'count_objects',
    'hard_case_groups',
    'hard_case_rows',
    'hard_case_table',
]

ALARMED = 0.1
"""An unchanged object counts as a false alarm if at least this share of its pixels is predicted as changed."""

Counts = tuple[str, int, int]
"""Kind of one object, its pixels, and how many of them are predicted as changed."""


@METRICS.register_module()
class HardCaseMetric(BaseMetric):
    """Recall by kind of change, and false alarms by kind of pseudo-change.

    Changed kinds have the keys ``hard/<kind>/recall``, over pixels, and ``hard/<kind>/found``, the share of the objects
    that are found; ideally both are 1. Unchanged kinds have ``hard/<kind>/false_alarm``, over pixels, and
    ``hard/<kind>/alarmed``, the share of the objects with a false alarm; ideally both are 0. ``hard/<kind>/objects`` is
    the number of objects. ``background`` contains the pixels of no object and counts as one object per image.

    A changed object is found if at least the share FOUND of its pixels is predicted as changed; an unchanged one is
    alarmed from ALARMED on. Rates are fractions in [0, 1]. Kinds without objects have no keys. The result does not
    depend on the number of processes.

    Args:
        threshold: Probability in (0, 1) above which a pixel is predicted as changed; by default the prediction of the
            model is used, ``pred_sem_seg``.
        out_file: Where to write the table as JSON; each evaluation replaces the file.
        collect_device: Where results of several processes are collected, ``'cpu'`` or ``'gpu'``.
        prefix: First part of the keys.

    Raises:
        UserError: for a threshold outside (0, 1); during evaluation for a data set without typed objects, or a
            prediction whose size differs from that of the instance map.
    """

    default_prefix = 'hard'

    def __init__(
        self,
        threshold: float | None = None,
        out_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = 'hard',
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_threshold(threshold)
        self.threshold = threshold
        self.out_file = out_file
        self.rows: list[dict[str, Any]] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:  # noqa: ARG002
        """Count the objects of one batch.

        With a threshold they need ``seg_logits`` as well.
        """
        for sample in data_samples:
            if self.threshold is None:
                pred = sample['pred_sem_seg']['data'].squeeze(0) == 1
            else:
                pred = change_probs(sample['seg_logits']['data']) > self.threshold
            ids, kinds = read_objects(Path(sample['img_path'][0]), pred.shape)
            self.results.append(count_objects(pred.cpu().numpy(), ids, kinds))

    def compute_metrics(self, results: list[list[Counts]]) -> dict[str, float]:
        """Sum up the images, print the table, write the JSON file."""
        logger: MMLogger = MMLogger.get_current_instance()
        self.rows = hard_case_rows(counts for image in results for counts in image)
        logger.info('\n' + hard_case_table(self.rows))
        if self.out_file is not None:
            report = {
                'threshold': 'model' if self.threshold is None else self.threshold,
                'found_at': FOUND,
                'alarmed_at': ALARMED,
                'images': len(results),
                'rows': self.rows,
            }
            write_json(Path(self.out_file), report)
        figures: dict[str, float] = {}
        for row in self.rows:
            if row['objects']:
                pixel_rate, object_rate = (
                    ('recall', 'found') if row['changed'] else ('false_alarm', 'alarmed')
                )
                figures |= {
                    f'{row["kind"]}/{pixel_rate}': row['pixel_rate'],
                    f'{row["kind"]}/{object_rate}': row['object_rate'],
                    f'{row["kind"]}/objects': row['objects'],
                }
        return figures


def count_objects(pred: np.ndarray, ids: np.ndarray, kinds: dict[int, str]) -> list[Counts]:
    """Kind, pixels and pixels predicted as changed of every non-empty object of an image; the rest is background.

    ``ids`` is the instance map, 0 where no object is, and ``kinds`` the kind of every object by its id.
    """
    pixels = np.bincount(ids.ravel(), minlength=max(kinds, default=0) + 1)
    called = np.bincount(ids[pred], minlength=len(pixels))
    names = {0: BACKGROUND, **kinds}
    return [(names[int(i)], int(pixels[i]), int(called[i])) for i in np.flatnonzero(pixels)]


def hard_case_groups(counts: Iterable[Counts]) -> list[Group]:
    """Sum up objects by kind as groups of a breakdown, in the order of CASES."""
    empty = [Group('hard_case', kind, case.changed, 0, 0, 0, 0) for kind, case in CASES.items()]
    objects = []
    for kind, pixels, called in counts:
        changed = CASES[kind].changed
        hit = called / pixels >= (FOUND if changed else ALARMED)
        objects.append(Group('hard_case', kind, changed, 1, pixels, called, int(hit)))
    return sum_groups([empty, objects])


def hard_case_rows(counts: Iterable[Counts]) -> list[dict[str, Any]]:
    """Sum up objects by kind for the JSON file: one row per kind, also empty ones, in the order of CASES."""
    names = ('changed', 'objects', 'pixels', 'pixel_rate', 'object_rate')
    return [
        {
            'kind': group.group,
            **{name: getattr(group, name) for name in names},
            'description': CASES[group.group].description,
        }
        for group in hard_case_groups(counts)
    ]


def hard_case_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Format the result as a text table without kinds that have no object."""
    lines = []
    for changed, title, pixel_rate, object_rate in (
        (True, 'changed', 'recall', 'found'),
        (False, 'unchanged', 'false alarm', 'alarmed'),
    ):
        lines.append(f'{title:<18} {"objects":>8} {"pixels":>10} {pixel_rate:>12} {object_rate:>8}')
        line = '{kind:<18} {objects:>8} {pixels:>10,} {pixel_rate:>12.4f} {object_rate:>8.4f}'
        lines += [line.format(**row) for row in rows if row['changed'] == changed and row['objects']]
    lines.append(
        'recall, false alarm: share of the pixels predicted as changed; found: objects with at least '
        f'{FOUND:.0%} of them, alarmed: with at least {ALARMED:.0%}'
    )
    return '\n'.join(lines)
