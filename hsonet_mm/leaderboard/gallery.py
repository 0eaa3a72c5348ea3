"""The pictures of the report: each method's worst test images, and those that the methods disputed most."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hsonet_mm.datasets.change_dataset import IMAGE_SUFFIXES, expand_variables
from hsonet_mm.demo.page import draw_errors
from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.board import Cell, Records, cell_of
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.summary import Row

__all__ = ['Gallery', 'Picture', 'Scene', 'gallery', 'most_disputed']

WORST = 2
"""Images of lowest F1 that are shown of each method; one more has the most false alarms."""
DISPUTED = 3
SIDE = 256
"""Longest side of a picture in pixels."""
QUALITY = 80
LABEL = 127
"""A pixel of a label is changed above this value, as the data sets read it."""
ROUNDING = 0.01
"""Slack of the search for disputed images: stored probabilities are rounded, so a mask may differ in some pixels
from the one that was scored."""


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        caption: What it shows.
        data: A data URL.
    """

    caption: str
    data: str


@dataclass(frozen=True)
class Scene:
    """Pictures of one pair.

    Attributes:
        image: Name of the pair.
        why: What it stands here for.
        pictures: Both dates, the label, and errors of one or all methods.
    """

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

    disputed: list[Scene]
    worst: list[tuple[str, list[Scene]]]
    missing: str


@dataclass(frozen=True)
class _Member:
    """A method with the threshold and the probabilities that it is drawn from."""

    method: str
    threshold: float
    probs: Path
    counts: dict[str, tuple[int, int, int, int]]


def gallery(out: Path, spec: Spec, records: Records, cell: Cell, rows: Sequence[Row]) -> Gallery:
    """Draw the pictures of one table: of every method its first seed with probabilities, at the table's threshold.

    Args:
        out: Folder of the leaderboard.
        spec: Names the blocks' folders and the data roots.
        records: Name the worst images, and the thresholds.
        cell: The table.
        rows: Its methods.
    """
    slug = next((block.slug for block in spec.blocks if block.name == cell.block), '')
    runs = out / 'runs' / cell.data_set / slug
    members = [member for row in rows if (member := _member(runs, records, cell, row.method))]
    if not members:
        return Gallery([], [], f'the folders probs/{cell.test_set} of the runs are not there')
    try:
        folder = Path(expand_variables(spec.data[cell.test_set])) / 'test'
    except (KeyError, UserError):
        return Gallery([], [], f'spec.yaml tells no data root of {cell.test_set} that is known here')
    files = {name: _files(folder / name) for name in ('A', 'B', 'label')}
    if not all(files.values()):
        return Gallery([], [], f'the images of {cell.test_set} are not at {folder}')
    images = set.intersection(*(set(known) for known in files.values()))
    painter = _Painter(files)
    try:
        disputed = [
            Scene(
                image,
                f'two methods differ in {share:.1%} of the pixels on average',
                [*painter.scene(image), *(painter.errors(member, image) for member in members)],
            )
            for share, image in (most_disputed(members, painter, images) if len(members) > 1 else ())
        ]
        worst = [
            (
                member.method,
                [
                    Scene(image, why, [*painter.scene(image), painter.errors(member, image)])
                    for image, why in _worst(member, images)
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
    members: Sequence[_Member], painter: '_Painter', images: set[str], number: int = DISPUTED
) -> list[tuple[float, str]]:
    r"""The images whose masks differ most: the mean share of pixels in which two methods differ.

    Two masks differ only where one of them is wrong, so an image's disagreement is at most twice its mean error
    rate. Images are looked at by falling error rate, and the search ends where that bound is below what is found:
    most masks are never read.

    Args:
        members: At least two methods.
        painter: Reads masks and labels.
        images: Names of the pairs.
        number: How many images.

    Returns:
        Disagreement in [0, 1] and name, the highest first; images on which all agree are left out.
    """
    known = set.intersection(images, *(set(member.counts) for member in members))
    rates = {
        image: sum(
            (fp + fn) / (tp + fp + fn + tn) for tp, fp, fn, tn in (one.counts[image] for one in members)
        )
        / len(members)
        for image in known
    }
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
    """Reads the images and masks of one test set and draws them.

    Args:
        files: Path of every image by name, in the folders ``A``, ``B`` and ``label``.
    """

    def __init__(self, files: dict[str, dict[str, Path]]) -> None:
        self.files = files

    def label(self, image: str) -> NDArray[np.bool_]:
        """Where the label says changed, (H, W)."""
        return _read(self.files['label'][image], cv2.IMREAD_GRAYSCALE) > LABEL

    def mask(self, member: _Member, image: str) -> NDArray[np.bool_]:
        """What a method calls changed, (H, W)."""
        path = member.probs / f'{image}.png'
        probs, label = _read(path, cv2.IMREAD_GRAYSCALE), self.label(image)
        if probs.shape != label.shape:
            raise UserError(
                f'{path} and the label of {image} differ in size: score the run again on this data'
            )
        return np.asarray(probs > 255 * member.threshold)

    def scene(self, image: str) -> list[Picture]:
        """Both dates and the label."""
        dates = [
            Picture(caption, _url(_read(self.files[name][image], cv2.IMREAD_COLOR), '.jpg'))
            for name, caption in (('A', 'date 1'), ('B', 'date 2'))
        ]
        return [*dates, Picture('label', _url(self.label(image) * np.uint8(255), '.png'))]

    def errors(self, member: _Member, image: str) -> Picture:
        """What a method found, missed and invented."""
        tp, fp, fn, _ = member.counts[image]
        score = f'F1 {200 * tp / (2 * tp + fp + fn):.1f}' if tp + fp + fn else 'nothing to find'
        return Picture(
            f'{member.method}: {score}',
            _url(draw_errors(self.mask(member, image), self.label(image)), '.png'),
        )


def _member(folder: Path, records: Records, cell: Cell, method: str) -> _Member | None:
    """The first seed of a method whose probabilities are in the folder of the block's runs; None without one."""
    results = [row for row in records.results if row['split'] == 'test' and row['method'] == method]
    for row in sorted(results, key=lambda one: int(one['seed'])):
        probs = folder / method / f'seed{row["seed"]}' / 'probs' / cell.test_set
        if cell_of(row) == cell and probs.is_dir():
            counts = {
                one['image']: (int(one['tp']), int(one['fp']), int(one['fn']), int(one['tn']))
                for one in records.images
                if (one['method'], one['seed']) == (method, row['seed']) and cell_of(one) == cell
            }
            return _Member(method, float(row['threshold']), probs, counts)
    return None


def _worst(member: _Member, images: set[str]) -> list[tuple[str, str]]:
    """Names of the images with changes that a method does worst on, and of the one with most false alarms."""

    def f1(image: str) -> float:
        tp, fp, fn, _ = member.counts[image]
        return 2 * tp / (2 * tp + fp + fn)

    known = sorted(images & set(member.counts))
    changed = [image for image in known if member.counts[image][0] + member.counts[image][2]]
    picks = {image: f'F1 {100 * f1(image):.1f}' for image in sorted(changed, key=f1)[:WORST]}
    alarmed = max(known, key=lambda image: member.counts[image][1], default=None)
    if alarmed is not None and member.counts[alarmed][1]:
        most = f'most false alarms, {member.counts[alarmed][1]:,} pixels'
        picks[alarmed] = f'{picks[alarmed]}, {most}' if alarmed in picks else most
    return list(picks.items())


def _files(folder: Path) -> dict[str, Path]:
    """Images of a folder and below, by name without suffix."""
    return {
        path.relative_to(folder).with_suffix('').as_posix(): path
        for path in sorted(folder.rglob('*'))
        if path.suffix.lower() in IMAGE_SUFFIXES
    }


def _read(path: Path, mode: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise UserError(f'{path} is missing or no image: score the run again on this data')
    return np.asarray(image, np.uint8)


def _url(image: NDArray[np.uint8], suffix: str) -> str:
    """The picture, made small, as a data URL."""
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(suffix, image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if suffix == '.jpg' else [])
    assert done
    return f'data:image/{"jpeg" if suffix == ".jpg" else "png"};base64,{base64.b64encode(data.tobytes()).decode()}'
