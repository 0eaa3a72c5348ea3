"""The pictures of the report: the worst test images of each method, and those on which methods differ most."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.images import first_three, read_pixels, to_bgr
from hsonet_mm.labels import IGNORED
from hsonet_mm.leaderboard.board import Cell, Records, rows_of
from hsonet_mm.leaderboard.job import hashes_trained
from hsonet_mm.leaderboard.records import Run
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.summary import Standing
from hsonet_mm.pages import data_url, draw_errors, reduced

__all__ = ['Gallery', 'Picture', 'PictureRow', 'gallery', 'most_disputed']

WORST = 2
"""Images of lowest F1 that are shown of each method; one more has the most false alarms."""
DISPUTED = 3
SIDE = 256
"""Longest side of a picture in pixels."""
QUALITY = 80
ROUNDING = 0.01
"""Slack of the search for disputed images: stored probabilities are rounded, so a mask may differ in some pixels
from the one that was scored."""


@dataclass(frozen=True)
class Picture:
    """A caption, and a picture as a data URL."""

    caption: str
    data: str


@dataclass(frozen=True)
class PictureRow:
    """Both dates of a pair, the label, and errors of one or all methods; and why it stands here."""

    image: str
    why: str
    pictures: list[Picture]


@dataclass(frozen=True)
class Gallery:
    """All pictures of one table.

    Attributes:
        disputed: The images that the methods disagree on most, the worst first.
        worst: Method and its worst images.
        missing: Why there are no pictures, or fewer; empty if all are there.
    """

    disputed: list[PictureRow]
    worst: list[tuple[str, list[PictureRow]]]
    missing: str


@dataclass(frozen=True)
class _Member:
    """A method with the threshold, the config of the run and the probabilities that it is drawn from."""

    method: str
    threshold: float
    config: Path
    probs: Path
    counts: Mapping[str, Confusion]


def gallery(out: Path, spec: Spec, records: Records, cell: Cell, rows: Sequence[Standing]) -> Gallery:
    """Draw the pictures of one table: of every method its first seed with probabilities, at the table's threshold.

    Images and labels are read as they were for the scores: by the data set of a run's ``config.py``.
    """
    members = [member for row in rows if (member := _member(out, records, cell, row.method))]
    if not members:
        return Gallery(
            [], [], f'the folders probs/{cell.test_set} of the runs are not there, or no config.py of theirs'
        )
    try:
        painter = _Painter(members[0].config, spec.test_sets(cell.data_set)[cell.test_set])
        disputed = [
            PictureRow(
                image,
                f'two methods differ in {share:.1%} of the pixels on average',
                [*painter.scene(image), *(painter.errors(member, image) for member in members)],
            )
            for share, image in (most_disputed(members, painter) if len(members) > 1 else ())
        ]
        worst = [
            (
                member.method,
                [
                    PictureRow(image, why, [*painter.scene(image), painter.errors(member, image)])
                    for image, why in _worst(member, painter.pairs)
                ],
            )
            for member in members
        ]
    except UserError as error:
        return Gallery([], [], str(error))
    drawn = {member.method for member in members}
    absent = [row.method for row in rows if row.figures and row.method not in drawn]
    return Gallery(disputed, worst, f'there are no probabilities of {", ".join(absent)}' if absent else '')


def most_disputed(
    members: Sequence[_Member], painter: '_Painter', number: int = DISPUTED
) -> list[tuple[float, str]]:
    r"""The images whose masks differ most: the mean share of pixels in which two methods differ.

    Two masks differ only where one of them is wrong, so an image's disagreement is at most twice its mean error
    rate. Images are looked at by falling error rate, and the search ends where that bound is below what is found:
    most masks are never read.

    Returns:
        Disagreement in [0, 1] and name, the highest first; images on which all agree are left out.
    """
    known = set.intersection(set(painter.pairs), *(set(member.counts) for member in members))
    rates = {image: float(np.mean([1 - member.counts[image].oa for member in members])) for image in known}
    found: list[tuple[float, str]] = []
    for image in sorted(known, key=lambda name: (-rates[name], name)):
        if len(found) == number and 2 * rates[image] + ROUNDING < found[-1][0]:
            break
        votes = np.sum([painter.mask(member, image) for member in members], axis=0)
        pairs = len(members) * (len(members) - 1)
        disagreement = float((2 * votes * (len(members) - votes)).mean() / pairs)
        if disagreement > 0:
            found = sorted([*found, (disagreement, image)], key=lambda pair: (-pair[0], pair[1]))[:number]
    return found


class _Painter:
    """Reads the pairs of one test set as they were scored, and masks, and draws them.

    The config of a run tells which files there are and how a label is read.

    Attributes:
        pairs: Number of every pair in the test set, by name.
    """

    def __init__(self, config: Path, root: str) -> None:
        cfg = Config.fromfile(str(config))
        init_default_scope(cfg.get('default_scope', 'opencd'))
        self.test_set = DATASETS.build({**cfg.test_dataloader.dataset, 'data_root': root})
        first_date = self.test_set.data_prefix['img_path_from']
        paths = [self.test_set.get_data_info(index)['img_path'] for index in range(len(self.test_set))]
        self.pairs = {
            Path(os.path.relpath(path, first_date)).with_suffix('').as_posix(): index
            for index, (path, _) in enumerate(paths)
        }
        self.label = lru_cache(maxsize=4)(self._label)  # several masks are compared with one label

    def _label(self, image: str) -> NDArray[np.uint8]:
        """0 unchanged, 1 changed and IGNORED, (H, W)."""
        sample = self.test_set[self.pairs[image]]
        return np.asarray(sample['data_samples'].gt_sem_seg.data[0].numpy(), np.uint8)

    def mask(self, member: _Member, image: str) -> NDArray[np.bool_]:
        """Pixels that a method predicts as changed, without ignored ones, (H, W)."""
        path = member.probs / f'{image}.png'
        probs, label = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), self.label(image)
        if probs is None:
            raise UserError(f'{path} is missing or not an image: score the run again')
        if probs.shape != label.shape:
            raise UserError(
                f'{path} and the label of {image} differ in size: score the run again on this data'
            )
        return np.asarray((probs > 255 * member.threshold) & (label != IGNORED))

    def scene(self, image: str) -> list[Picture]:
        """Both dates and the label, grey where it is ignored."""
        paths = self.test_set.get_data_info(self.pairs[image])['img_path']
        dates = [
            Picture(f'date {date + 1}', _url(to_bgr(first_three(pixels.values)), '.jpg'))
            for date, pixels in enumerate(map(read_pixels, paths, map(self.test_set.reading.of_date, (0, 1))))
        ]
        grey = np.array([0, 255, *[128] * 254], np.uint8)
        return [*dates, Picture('label', _url(grey[self.label(image)], '.png'))]

    def errors(self, member: _Member, image: str) -> Picture:
        """True positives, misses and false alarms of a method."""
        counts = member.counts[image]
        score = f'F1 {100 * counts.f1:.1f}' if counts.tp + counts.fp + counts.fn else 'nothing to find'
        return Picture(
            f'{member.method}: {score}',
            _url(draw_errors(self.mask(member, image), self.label(image) == 1), '.png'),
        )


def _member(out: Path, records: Records, cell: Cell, method: str) -> _Member | None:
    """The first seed of a method whose folder contains the probabilities of what was scored; None without one."""
    rows = rows_of(records.results, split='test', method=method, **cell._asdict())
    for row in rows.sort_values('seed').itertuples():
        folder = out / Run(cell.block, method, cell.data_set, row.seed).folder
        probs, config = folder / 'probs' / cell.test_set, folder / 'config.py'
        if probs.is_dir() and config.is_file() and hashes_trained(folder)[0] == row.config_hash:
            counts = records.counts.get(cell, {}).get(method, {}).get(row.seed, {})
            return _Member(method, float(row.threshold), config, probs, counts)
    return None


def _worst(member: _Member, images: Mapping[str, int]) -> list[tuple[str, str]]:
    """Names of the images with changes and the lowest scores of a method, and of the one with most false alarms."""
    known = {image: member.counts[image] for image in sorted(images.keys() & member.counts.keys())}
    changed = [image for image, counts in known.items() if counts.tp + counts.fn]
    picks = {
        image: f'F1 {100 * known[image].f1:.1f}'
        for image in sorted(changed, key=lambda image: known[image].f1)[:WORST]
    }
    alarmed = max(known, key=lambda image: known[image].fp, default=None)
    if alarmed is not None and known[alarmed].fp:
        most = f'most false alarms, {known[alarmed].fp:,} pixels'
        picks[alarmed] = f'{picks[alarmed]}, {most}' if alarmed in picks else most
    return list(picks.items())


def _url(image: NDArray[np.uint8], suffix: str) -> str:
    """The picture, made small, as a data URL."""
    return data_url(reduced(image, SIDE), suffix, QUALITY)
