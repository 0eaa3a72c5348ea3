"""The scores of a checkpoint, as rows of the tables.

The threshold is chosen on val and fixed before the test split is opened. Predictions of val are kept on the disk until
they are counted at it. Each test split is then predicted once a protocol, and every figure comes from these
probabilities. Tiles of a split whose images are no larger than one are its whole images, which are not predicted again.
"""

import copy
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.breakdown import Group, breakdown, sum_groups
from hsonet_mm.evaluation.change_metric import CURVE_STEP, change_probs
from hsonet_mm.evaluation.confusion import BINS, Confusion, Sweep, confusion, histograms, sweep
from hsonet_mm.evaluation.hard_case_metric import count_objects, hard_case_groups
from hsonet_mm.evaluation.hard_cases import are_objects_typed, read_objects
from hsonet_mm.evaluation.object_report import object_groups, object_metrics
from hsonet_mm.evaluation.objects import Objects, join, match_objects
from hsonet_mm.inference.pairs import write_png
from hsonet_mm.leaderboard.records import note_opening

__all__ = ['Prediction', 'predict', 'score']

HALF = 0.5
Tables = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Prediction:
    """One pair of a split.

    Its name is its path below the folder of date 1, without suffix. Probabilities and label (0, 1, 255 ignored) are (H,
    W), on the CPU; ``seen`` are height and width as the network sees it.
    """

    image: str
    path: Path
    probs: Tensor
    target: Tensor
    seen: tuple[int, int]


def score(model: Any, cfg: Config, test_sets: Mapping[str, str], folder: Path) -> Tables:
    """Score a model on the val split of its data set, and on test splits.

    The config has loaders, protocols, and the data root of its own data set; ``test_sets`` are the roots of those to
    test on, by name. In the folder of the run the openings of test splits are noted, and the probabilities of the test
    pairs go there: ``probs/<test set>/<image>.png``, 8 bits, 255 is 1.

    Returns the rows of ``results``, ``images``, ``curves`` and ``breakdown``, without the columns that tell the run.
    Rows of val name no test set.
    """
    model.test_cfg = cfg.protocols.whole
    with tempfile.TemporaryFile(dir=folder) as file:
        kept = _Kept(file)
        _, curve = _curve(kept.watch(predict(model, cfg.val_dataloader)))
        thresholds = {'half': HALF, 'val': curve.best[0]}
        val = _tally(kept, thresholds)
    tables: Tables = {'results': val.results('val', 'whole'), 'images': [], 'curves': [], 'breakdown': []}
    for test_set, root in test_sets.items():
        loader = copy.deepcopy(cfg.test_dataloader)
        loader.dataset.data_root = root
        note_opening(folder, test_set)
        model.test_cfg = cfg.protocols.whole
        whole = _tally(predict(model, loader), thresholds, folder / 'probs' / test_set)
        for protocol, test_cfg in cfg.protocols.items():
            same = protocol == 'whole' or whole.fits(test_cfg)
            model.test_cfg = test_cfg
            tally = whole if same else _tally(predict(model, loader), thresholds)
            for name, rows in tally.tables(protocol).items():
                tables[name] += [{'test_set': test_set, **row} for row in rows]
    return tables


@torch.inference_mode()
def predict(model: Any, loader: Mapping[str, Any]) -> Iterator[Prediction]:
    """Predict the pairs of a split, by the steps of a test in MMEngine."""
    loader = {**loader, 'persistent_workers': False}  # they would outlive the one pass
    built = Runner.build_dataloader(loader)
    first_date = built.dataset.data_prefix['img_path_from']
    model.eval()
    for batch in built:
        for sample in model.test_step(batch):
            path = Path(sample.img_path[0])
            probs = change_probs(sample.seg_logits.data).cpu()
            if not probs.isfinite().all():
                raise UserError(f'{path}: the prediction is NaN; train again with a lower learning rate')
            image = Path(os.path.relpath(path, first_date)).with_suffix('').as_posix()
            yield Prediction(image, path, probs, sample.gt_sem_seg.data[0].cpu(), sample.img_shape[:2])


def _curve(predictions: Iterable[Prediction]) -> tuple[int, Sweep]:
    """Number of the pairs, and their counts at all thresholds."""
    count, sums = 0, torch.zeros(2, BINS, dtype=torch.long)
    for one in predictions:
        count += 1
        sums += torch.stack(histograms(one.probs, one.target))
    return count, sweep(*sums)


class _Kept:
    """Predictions of a split, kept in a file so that they can be gone through once more.

    Args:
        file: An empty file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.pairs: list[tuple[str, Path, tuple[int, int]]] = []

    def watch(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Keep what passes."""
        for one in predictions:
            self.pairs.append((one.image, one.path, one.seen))
            for values in (one.probs.numpy(), one.target.numpy().astype(np.uint8)):
                np.save(self.file, values, allow_pickle=False)
            yield one

    def __iter__(self) -> Iterator[Prediction]:
        self.file.seek(0)
        for image, path, seen in self.pairs:
            probs, target = (torch.from_numpy(np.load(self.file, allow_pickle=False)) for _ in range(2))
            yield Prediction(image, path, probs, target, seen)


def _tally(
    predictions: Iterable[Prediction], thresholds: Mapping[str, float], probs: Path | None = None
) -> '_Tally':
    """Count the predictions of a split under one protocol; see :class:`_Tally`."""
    tally = _Tally(thresholds, probs)
    tally.pairs, tally.curve = _curve(tally.watch(predictions))
    return tally


class _Tally:
    """Counts the predictions of one split under one protocol as they pass, at the thresholds by rule.

    ``probs`` is a folder for the probabilities, where they are to be written; only then errors are broken down.
    """

    pairs: int
    curve: Sweep

    def __init__(self, thresholds: Mapping[str, float], probs: Path | None) -> None:
        self.thresholds = thresholds
        self.probs = probs
        self.largest: tuple[int, ...] = (0, 0)
        self.images: list[dict[str, Any]] = []
        self.sums: dict[str, Confusion] = dict.fromkeys(thresholds, Confusion())
        self.groups: dict[str, list[Group]] = {rule: [] for rule in thresholds}
        self.objects: dict[str, list[Objects]] = {rule: [] for rule in thresholds}

    def watch(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Count what passes."""
        for one in predictions:
            self.largest = tuple(map(max, self.largest, one.seen))
            typed = read_objects(one.path, one.target.shape) if are_objects_typed(one.path) else None
            probs, target = one.probs.numpy(), one.target.numpy().astype(np.uint8)
            for rule, threshold in self.thresholds.items():
                pred = one.probs > threshold
                counts = confusion(pred, one.target)
                objects = match_objects(pred.numpy(), probs, target, typed)
                self.images.append(
                    {'threshold_rule': rule, 'image': one.image, **counts.counts(), **_scores(objects)}
                )
                self.sums[rule] += counts
                self.objects[rule].append(objects)
                if self.probs is not None:
                    self.groups[rule] = sum_groups([self.groups[rule], _groups(pred.numpy(), target, typed)])
            if self.probs is not None:
                write_png(self.probs / f'{one.image}.png', (255 * one.probs).round().byte().numpy())
            yield one

    def fits(self, test_cfg: Mapping[str, Any]) -> bool:
        """Whether no pair that passed is larger than one tile of a protocol."""
        crop = test_cfg.get('crop_size', (0, 0))
        return self.largest[0] <= crop[0] and self.largest[1] <= crop[1]

    def results(self, split: str, protocol: str) -> list[dict[str, Any]]:
        """Scores of the whole split, one row a threshold."""
        return [
            {
                'split': split,
                'protocol': protocol,
                'threshold_rule': rule,
                'threshold': self.thresholds[rule],
                **counts.metrics(),
                'images': self.pairs,
                'pixels': counts.total,
                **object_metrics(join(self.objects[rule])),
            }
            for rule, counts in self.sums.items()
        ]

    def tables(self, protocol: str) -> Tables:
        """The rows of a test split, for the protocol or another that comes to the same."""
        curve = zip(self.curve.thresholds, self.curve.confusions, strict=True)
        return {
            'results': self.results('test', protocol),
            'images': [{'protocol': protocol, **row} for row in self.images],
            'curves': [
                {'protocol': protocol, 'threshold': threshold, **counts.counts()}
                for threshold, counts in list(curve)[CURVE_STEP - 1 :: CURVE_STEP]
            ],
            'breakdown': [
                {'threshold_rule': rule, **asdict(group), 'changed': int(group.changed)}
                for rule, groups in self.groups.items()
                if protocol == 'whole'
                for group in (*groups, *object_groups(join(self.objects[rule])))
            ],
        }


def _scores(objects: Objects) -> dict[str, Any]:
    """The objects of one image as columns of ``images``."""
    found = objects.score[objects.labelled & (objects.score >= 0)]
    alarms = objects.score[~objects.labelled]
    return {
        'objects': int(objects.labelled.sum()),
        'found': ' '.join(map(str, sorted(found, reverse=True))),
        'alarms': ' '.join(map(str, sorted(alarms, reverse=True))),
    }


def _groups(pred: np.ndarray, target: np.ndarray, typed: Any) -> list[Group]:
    """Where one prediction fails: by size, boundary, and hard case where the data set types its objects."""
    groups = breakdown(pred, target)
    return [*hard_case_groups(count_objects(pred, *typed)), *groups] if typed else groups
