"""A picture of some pairs of every split: date 1, date 2, and date 2 with the changed pixels outlined."""

from collections.abc import Sequence

import cv2
import numpy as np

from hsonet_mm.images import Reading, first_three
from hsonet_mm.labels import LabelCoding
from hsonet_mm.preparation.inspection import PairRecord, group_by_split
from hsonet_mm.preparation.label_files import read_scene_label
from hsonet_mm.preparation.sources import Source
from hsonet_mm.preparation.tiling import rank

__all__ = ['choose', 'contact_sheet', 'overlay']

_CELL, _GAP, _LINE = 192, 4, 20
_RED, _WHITE = (255, 40, 40), (255, 255, 255)


def choose(records: Sequence[PairRecord], count: int, seed: int) -> list[PairRecord]:
    """Half the most changed pairs, half drawn at random from the others; the most changed first."""
    whole = [
        record
        for record in records
        if record.size and not record.scene.missing() and record.changed is not None
    ]
    whole.sort(key=lambda record: (-record.share, record.scene.name))
    most = (count + 1) // 2
    rest = sorted(whole[most:], key=lambda record: rank(seed, record.scene.name))
    return sorted(
        [*whole[:most], *rest[: count - most]], key=lambda record: (-record.share, record.scene.name)
    )


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tint and outline the changed pixels. Shapes: (H, W, 3) uint8 and (H, W) bool to (H, W, 3) uint8."""
    tinted = image.copy()
    tinted[mask] = (0.7 * image[mask] + 0.3 * np.array(_RED)).astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(tinted, outlines, -1, _RED, max(1, min(image.shape[:2]) // _CELL))


def contact_sheet(
    source: Source,
    records: Sequence[PairRecord],
    count: int = 6,
    seed: int = 0,
    coding: LabelCoding = LabelCoding(),  # noqa: B008 (immutable)
    reading: Reading | None = None,
) -> bytes:
    """Draw the sheet as a png: one column a split, one row a pair; pairs with unreadable files are left out."""
    groups = group_by_split(records)
    columns = [
        _column(source, split, choose(group, count, seed), coding, reading or Reading())
        for split, group in groups.items()
    ]
    height = max(column.shape[0] for column in columns)
    padded = [np.pad(column, ((0, height - column.shape[0]), (0, 4 * _GAP), (0, 0))) for column in columns]
    return cv2.imencode('.png', np.ascontiguousarray(np.hstack(padded)[..., ::-1]))[1].tobytes()


def _column(
    source: Source, split: str, records: Sequence[PairRecord], coding: LabelCoding, reading: Reading
) -> np.ndarray:
    rows = [_line(f'{split}: date 1, date 2, changed')]
    for record in records:
        files = record.scene.files
        t1, t2 = (first_three(date.values) for date in source.read_dates(files, reading))
        mask = read_scene_label(source, record.scene, coding).mask
        images = (t1, t2, overlay(t2, mask))
        cells = [cv2.resize(image, (_CELL, _CELL), interpolation=cv2.INTER_AREA) for image in images]
        rows.append(np.hstack([np.pad(cell, ((0, 0), (0, _GAP), (0, 0))) for cell in cells]))
        rows.append(_line(f'{record.share:.1%}  {record.scene.stem}'))
    return np.vstack(rows)


def _line(text: str) -> np.ndarray:
    """A strip with a line of text; characters the font lacks become question marks."""
    strip = np.zeros((_LINE, 3 * (_CELL + _GAP), 3), np.uint8)
    shown = text.encode('ascii', 'replace').decode()[:70]
    return cv2.putText(strip, shown, (2, _LINE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _WHITE, 1, cv2.LINE_AA)
