"""Checks of a change-detection data set: rules for one pair, for a split and for the whole set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from hsonet_mm.errors import UserError
from hsonet_mm.images import Pixels, Raster, Reading, first_three, notes_of, place_note
from hsonet_mm.images.pairs import check_depths
from hsonet_mm.images.pixels import stretch_note
from hsonet_mm.index import ROLES, SPLITS, SceneFiles
from hsonet_mm.labels import IGNORED, Figures, LabelCoding, label_remarks
from hsonet_mm.preparation.duplicates import find_duplicates, thumbnail
from hsonet_mm.preparation.label_files import read_scene_label
from hsonet_mm.preparation.sources import Source

__all__ = [
    'Finding', 'PairRecord', 'figures_of', 'group_by_split', 'inspect_duplicates', 'inspect_pair', 'inspect_set',
]  # fmt: skip

_REPEAT_DISTANCE = 32
"""Hash distance within one split: repeats there cause a note, not a long search."""


@dataclass(frozen=True)
class Finding:
    """A problem found by a check: of a rule, in one word, with a sentence that names file and cure."""

    level: str
    kind: str
    split: str
    message: str


@dataclass
class PairRecord:
    """What is known about one pair.

    Its split is ``'all'`` where the source has none; size and pixels are known where the files are readable, thumbnails
    by role.
    """

    scene: SceneFiles
    split: str
    size: tuple[int, int] | None = None
    changed: int | None = None
    labelled: int = 0
    thumbs: dict[str, np.ndarray] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Changed share of the labelled pixels; 0 if unknown."""
        return self.changed / self.labelled if self.changed else 0.0

    def add(self, level: str, kind: str, message: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(level, kind, self.split, message))


def inspect_pair(
    source: Source,
    scene: SceneFiles,
    crop: int,
    coding: LabelCoding,
    problems: Mapping[str, str] | None = None,
    reading: Reading | None = None,
) -> PairRecord:
    """Read one pair and record its problems.

    ``problems`` are what is known to be wrong with labels, by their path; a crop of 0 is unknown.
    """
    reading = reading or Reading()
    record = PairRecord(scene, scene.split or 'all')
    files = scene.files
    if missing := scene.missing():
        there = next(iter(files.values()))
        gone = ' and '.join(missing)
        record.add('error', 'missing', f'{there}: has no counterpart in {gone}: add it or remove this file')
    images: dict[str, np.ndarray] = {}
    dates: dict[str, Pixels] = {}
    rasters: dict[str, Raster] = {}
    for role in files:
        try:
            if role == 'label':
                if problem := (problems or {}).get(files[role]):
                    raise UserError(problem)
                label = read_scene_label(source, scene, coding)
                images[role] = label.classes
                if label.raster is not None:
                    rasters[role] = label.raster
                if label.bands == 3 and coding.unchanged is not None:
                    message = f'{files[role]}: is a mask of {label.bands} bands: save one band'
                    record.add('warning', 'label bands', message)
                if label.noisy:
                    message = f'{files[role]}: contains values between 0 and 255, cut at 128: save it as png, not jpg'
                    record.add('warning', 'noisy label', message)
            else:
                dates[role] = source.read_date(files[role], reading.of_date(ROLES.index(role)))
                images[role], rasters[role] = dates[role].values, dates[role].raster
                record.thumbs[role] = thumbnail(first_three(images[role]))
        except UserError as error:
            record.add('error', 'label' if role == 'label' else 'unreadable', str(error))
    _believe(record, dates, rasters, reading)
    _compare(record, images, crop)
    return record


def _believe(
    record: PairRecord, dates: dict[str, Pixels], rasters: dict[str, Raster], reading: Reading
) -> None:
    """Checks of the declarations of the files: depth, georeference, alpha, borders."""
    if len(dates) == 2:
        try:
            check_depths(dates['A'], dates['B'], reading.stretch)
        except UserError as error:
            record.add('error', 'depth', str(error))
        for note in notes_of(dates['A'], dates['B'], reading.nodata is not None):
            record.add('error' if note.kind == 'grid' else 'warning', note.kind, note.text)
    if {'A', 'label'} <= set(rasters) and (other := place_note(rasters['A'], rasters['label'])):
        record.add('error', other.kind, other.text)
    for date in dates.values():
        if scaled := stretch_note(date, reading):
            record.add('warning', scaled.kind, scaled.text)


def _compare(record: PairRecord, images: dict[str, np.ndarray], crop: int) -> None:
    """The rules for the decoded images of one pair."""
    files = record.scene.files
    first = next(iter(files.values()))
    sizes = {role: (image.shape[0], image.shape[1]) for role, image in images.items()}
    if len(set(sizes.values())) > 1:
        told = ', '.join(f'{role} {width}x{height}' for role, (height, width) in sizes.items())
        record.add('error', 'sizes', f'{first}: the sizes differ ({told}): crop all to the same area')
    elif sizes:
        record.size = height, width = next(iter(sizes.values()))
        if record.split in ('train', 'all') and min(height, width) < crop:
            message = f'{first}: {width}x{height} is smaller than the crop of {crop}: use a smaller crop'
            record.add('error', 'crop', message)
    for role in ('A', 'B'):
        if role in images and (images[role] == images[role][0, 0]).all():
            message = f'{files[role]}: is all one colour: remove the pair if it has no data'
            record.add('warning', 'constant', message)
    if 'label' in images:
        record.changed = int((images['label'] == 1).sum())
        record.labelled = int((images['label'] != IGNORED).sum())
    if {'A', 'B'} <= set(images) and np.array_equal(images['A'], images['B']):
        level = 'error' if record.changed else 'warning'
        although = ' although its mask has changes' if record.changed else ''
        record.add(level, 'identical', f'{files["B"]}: equals the other date{although}: replace one of them')


def group_by_split(records: Sequence[PairRecord]) -> dict[str, list[PairRecord]]:
    """The records of every split, in the order train, val, test."""
    groups: dict[str, list[PairRecord]] = {}
    for record in sorted(records, key=lambda record: (*SPLITS, 'all').index(record.split)):
        groups.setdefault(record.split, []).append(record)
    return groups


def figures_of(records: Sequence[PairRecord]) -> dict[str, Figures]:
    """Statistics of the readable labels of every split."""
    known = {
        split: [record for record in group if record.changed is not None]
        for split, group in group_by_split(records).items()
    }
    return {
        split: Figures(len(group), sum(one.changed or 0 for one in group), sum(one.labelled for one in group))
        for split, group in known.items()
        if group
    }


def inspect_set(records: Sequence[PairRecord], folders: Sequence[str] = ()) -> list[Finding]:
    """The rules for splits, also empty ones, and for the whole set, except duplicates."""
    findings = []
    by_split = group_by_split(records)
    if 'all' in by_split:
        findings.append(Finding('warning', 'splits', 'all', 'the set has no splits: make them with prepare'))
    else:
        for split in SPLITS:
            if split not in by_split:
                level = (
                    'warning' if split == 'test' and split not in folders else 'error'
                )  # training needs the others
                message = f'{split}: contains no images: fill it or run hsonet prepare'
                findings.append(Finding(level, 'splits', split, message))
    for split, group in by_split.items():
        sizes = Counter(record.size for record in group if record.size)
        if len(sizes) > 1:
            told = ', '.join(f'{w}x{h} ({n})' for (h, w), n in sizes.most_common(4))
            message = f'{split}: has images of {len(sizes)} sizes, {told}: cut them to one size with prepare'
            findings.append(Finding('warning', 'mixed sizes', split, message))
    for split, (kind, remark) in label_remarks(figures_of(records)).items():
        findings.append(Finding('error' if kind == 'no change' else 'warning', kind, split, remark))
    return findings


def inspect_duplicates(records: Sequence[PairRecord]) -> list[Finding]:
    """Find the same ground in two splits, or twice in one.

    Across splits, a pair that agrees at both dates is an error: the figure would be too good. Agreement at
    one date is a warning, because regular structures such as factory roofs look alike without being the same.
    """
    images = {
        split: [(record, role) for record in group for role in ROLES if role in record.thumbs]
        for split, group in group_by_split(records).items()
    }
    thumbs = {split: [record.thumbs[role] for record, role in group] for split, group in images.items()}
    findings = []
    for one, two in combinations(images, 2):
        matches: dict[tuple[str, str], list[tuple[float, str, str]]] = {}
        for found in find_duplicates(thumbs[one], thumbs[two]):
            (first, role), (second, other) = images[one][found.first], images[two][found.second]
            match = found.correlation, first.scene.files[role], second.scene.files[other]
            matches.setdefault((first.scene.name, second.scene.name), []).append(match)
        for group in matches.values():
            correlation, file, copy = max(group)
            both = len({match[1] for match in group}) == len({match[2] for match in group}) == 2
            if both:
                message = f'{file}: shows the same ground as {copy}, as does the other date'
                cure = 'remove one of the pairs'
            else:
                message = f'{file}: looks like {copy}, at this date only'
                cure = 'look at both and remove one if they show the same ground'
            level, kind = ('error', 'duplicate') if both else ('warning', 'look-alike')
            findings.append(Finding(level, kind, one, f'{message} (correlation {correlation:.2f}): {cure}'))
    for split, pairs in images.items():
        repeats = {}
        for found in find_duplicates(thumbs[split], max_distance=_REPEAT_DISTANCE):
            (first, role), (second, other) = pairs[found.first], pairs[found.second]
            if first is not second:
                files = first.scene.files[role], second.scene.files[other]
                repeats[first.scene.name, second.scene.name] = files
        if repeats:
            file, copy = next(iter(repeats.values()))
            message = (
                f'{file}: shows the same ground as {copy}; {split} has at least {len(repeats)} such pairs'
            )
            cure = 'keep one of each, or count the split as smaller than it looks'
            findings.append(Finding('warning', 'repeats', split, f'{message}: {cure}'))
    return findings
