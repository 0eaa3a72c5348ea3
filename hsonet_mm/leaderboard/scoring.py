"""The scores of a checkpoint, as rows of the tables.

The threshold is chosen on val and fixed before the test split is opened. Predictions of val are kept on the disk until
they are counted at it. Each test split is then predicted once a protocol, and every figure comes from these
probabilities. Tiles of a split whose images are no larger than one are its whole images, which are not predicted again.
"""

import copy
import os
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.breakdown import Group, breakdown, sum_groups
from hsonet_mm.evaluation.change_metric import CURVE_STEP, change_probs
from hsonet_mm.evaluation.confusion import BINS, Confusion, confusion, histograms, sweep
from hsonet_mm.evaluation.hard_case_metric import count_objects, hard_case_groups
from hsonet_mm.evaluation.hard_cases import are_objects_typed, read_objects
from hsonet_mm.evaluation.object_report import object_groups, object_metrics
from hsonet_mm.evaluation.objects import Objects, join, match_objects
from hsonet_mm.inference.pairs import write_png
from hsonet_mm.leaderboard.records import note_opening

__all__ = ['ScoredPair', 'predict', 'score']

HALF = 0.5
Tables = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class ScoredPair:
    """One pair of a split.

    Its name is its path below the folder of date 1, without suffix. Probabilities and label (0, 1, 255 ignored) are (H,
    W); ``seen`` are height and width as the network sees it.
    """

    image: str
    path: Path
    probs: NDArray[np.float32]
    target: NDArray[np.uint8]
    seen: tuple[int, int]

    def histograms(self) -> torch.Tensor:
        """Changed and unchanged pixels by probability, (2, BINS)."""
        return torch.stack(histograms(torch.from_numpy(self.probs), torch.from_numpy(self.target)))


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
        counts = torch.zeros(2, BINS, dtype=torch.long)
        for one in predict(model, cfg.val_dataloader):
            counts += one.histograms()
            pickle.dump(one, file)
        thresholds = {'half': HALF, 'val': sweep(*counts).best[0]}
        val = _Tally(_kept(file), thresholds)
    tables: Tables = {'results': val.results('val', 'whole'), 'images': [], 'curves': [], 'breakdown': []}
    for test_set, root in test_sets.items():
        loader = copy.deepcopy(cfg.test_dataloader)
        loader.dataset.data_root = root
        note_opening(folder, test_set)
        model.test_cfg = cfg.protocols.whole
        whole = _Tally(predict(model, loader), thresholds, folder / 'probs' / test_set)
        for protocol, test_cfg in cfg.protocols.items():
            same = protocol == 'whole' or whole.fits(test_cfg)
            model.test_cfg = test_cfg
            tally = whole if same else _Tally(predict(model, loader), thresholds)
            for name, rows in tally.tables(protocol).items():
                tables[name] += [{'test_set': test_set, **row} for row in rows]
    return tables


@torch.inference_mode()
def predict(model: Any, loader: Mapping[str, Any]) -> Iterator[ScoredPair]:
    """Predict the pairs of a split, by the steps of a test in MMEngine."""
    loader = {**loader, 'persistent_workers': False}  # they would outlive the one pass
    built = Runner.build_dataloader(loader)
    first_date = built.dataset.data_prefix['img_path_from']
    model.eval()
    for batch in built:
        for sample in model.test_step(batch):
            path = Path(sample.img_path[0])
            probs = change_probs(sample.seg_logits.data).cpu().numpy()
            if not np.isfinite(probs).all():
                raise UserError(f'{path}: the prediction is NaN; train again with a lower learning rate')
            image = Path(os.path.relpath(path, first_date)).with_suffix('').as_posix()
            target = sample.gt_sem_seg.data[0].byte().cpu().numpy()
            yield ScoredPair(image, path, probs, target, sample.img_shape[:2])


def _kept(file: IO[bytes]) -> Iterator[ScoredPair]:
    """The predictions in a file."""
    file.seek(0)
    with suppress(EOFError):
        while True:
            yield pickle.load(file)


class _Tally:
    """Counts of the predictions of one split under one protocol, at the thresholds by rule.

    ``probs`` is a folder for the probabilities, where they are to be written; only then errors are broken down.
    """

    def __init__(
        self, predictions: Iterable[ScoredPair], thresholds: Mapping[str, float], probs: Path | None = None
    ) -> None:
        self.thresholds = thresholds
        self.pairs = 0
        self.largest: tuple[int, ...] = (0, 0)
        self.histograms = torch.zeros(2, BINS, dtype=torch.long)
        self.images: list[dict[str, Any]] = []
        self.sums: dict[str, Confusion] = dict.fromkeys(thresholds, Confusion())
        self.groups: dict[str, list[Group]] = {rule: [] for rule in thresholds}
        self.objects: dict[str, list[Objects]] = {rule: [] for rule in thresholds}
        for one in predictions:
            self.pairs += 1
            self.largest = tuple(map(max, self.largest, one.seen))
            self.histograms += one.histograms()
            typed = read_objects(one.path, one.target.shape) if are_objects_typed(one.path) else None
            for rule, threshold in thresholds.items():
                pred = one.probs > threshold
                counts = confusion(torch.from_numpy(pred), torch.from_numpy(one.target))
                objects = match_objects(pred, one.probs, one.target, typed)
                self.images.append(
                    {'threshold_rule': rule, 'image': one.image, **counts.counts(), **_scores(objects)}
                )
                self.sums[rule] += counts
                self.objects[rule].append(objects)
                if probs is not None:
                    groups = breakdown(pred, one.target)
                    if typed:
                        groups = [*hard_case_groups(count_objects(pred, *typed)), *groups]
                    self.groups[rule] = sum_groups([self.groups[rule], groups])
            if probs is not None:
                write_png(probs / f'{one.image}.png', np.rint(255 * one.probs).astype(np.uint8))

    def fits(self, test_cfg: Mapping[str, Any]) -> bool:
        """Whether no pair is larger than one tile of a protocol."""
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
        """The rows of a test split, for the protocol or an equivalent one."""
        return {
            'results': self.results('test', protocol),
            'images': [{'protocol': protocol, **row} for row in self.images],
            'curves': [
                {'protocol': protocol, 'threshold': threshold, **counts.counts()}
                for threshold, counts in sweep(*self.histograms).points[CURVE_STEP - 1 :: CURVE_STEP]
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
