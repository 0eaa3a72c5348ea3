"""The meaning of label values in a data set, and reading a label by it."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.labels.raw import RawLabel, looks_lossy, value_counts
from hsonet_mm.labels.values import Value, value_text, values_told

__all__ = ['CURE', 'IGNORED', 'LabelCoding', 'classes_of']

IGNORED = 255
"""Class of pixels that are not labelled, beside 0 (unchanged) and 1 (changed)."""

CURE = (
    'name what means changed by --changed-values and "not labelled" by --ignore-value (in a config changed_values and '
    'ignore_value)'
)

_APART = 64
"""Steps that values must lie apart to be told from each other in a JPEG, and that a pixel may be off [choice]."""


@dataclass(frozen=True)
class LabelCoding:
    """The coding of a data set's labels.

    Unchanged are all other values where it is None; of a lossy coding, a pixel takes the nearest value. ``written`` is
    the file that says so.
    """

    changed: tuple[Value, ...] = (255,)
    unchanged: tuple[Value, ...] | None = (0,)
    ignored: tuple[Value, ...] = ()
    lossy: bool = False
    written: str = field(default='', compare=False)

    def __post_init__(self) -> None:
        twice = set(self.changed) & set(self.ignored) | set(self.unchanged or ()) & {
            *self.changed,
            *self.ignored,
        }
        if twice:
            raise UserError(f'the label value {value_text(min(twice, key=str))} has two meanings: keep one')

    def __str__(self) -> str:
        unchanged = 'others' if self.unchanged is None else ','.join(map(value_text, self.unchanged))
        parts = [f'{unchanged}/{" ".join(map(value_text, self.changed))}']
        parts += [f'{" ".join(map(value_text, self.ignored))} not labelled'] if self.ignored else []
        told = ', '.join(parts + (['with noise'] if self.lossy else []))
        return f'{told}, as {self.written} says' if self.written else told


def classes_of(label: RawLabel, coding: LabelCoding, path: str) -> NDArray[np.uint8]:
    """Read a label by the coding of its data set.

    0 is unchanged, 1 changed, :data:`IGNORED` not labelled; (H, W).

    Raises:
        UserError: if the label contains values without a meaning, or its values are not exact enough to be told apart.
    """
    if (coding.lossy or not label.exact) and label.palette is None:
        classes = _nearest(label, coding, path)
    elif label.values.ndim == 2 and label.values.dtype == np.uint8:
        classes = _table(coding, None if label.palette is None else label.palette.tobytes())[label.values]
    else:
        classes = _by_value(label.values, coding)
    if label.labelled is not None:
        classes = np.where(label.labelled, classes, np.uint8(IGNORED))
    strange = classes == _STRANGE
    if strange.any():
        held = values_told(_distinct(label.values[strange], label.palette, coding))
        raise UserError(
            f'the label {path} contains {held}, but the labels of this data set are coded {coding}: '
            f'correct it, or {CURE}'
        )
    return classes


_STRANGE = 254


def _meanings(coding: LabelCoding) -> list[tuple[Value, int]]:
    """All values with a meaning, and their classes."""
    named = ((coding.changed, 1), (coding.unchanged or (), 0), (coding.ignored, IGNORED))
    return [(value, meaning) for values, meaning in named for value in values]


@lru_cache(maxsize=8)
def _table(coding: LabelCoding, palette: bytes | None) -> NDArray[np.uint8]:
    """Class of each of the 256 values; those of a palette image by their colours if the coding declares any."""
    if palette is not None and any(isinstance(value, tuple) for value, _ in _meanings(coding)):
        colours = np.frombuffer(palette, np.uint8).reshape(1, -1, 3)
        return np.pad(_by_value(colours, coding)[0], (0, 256 - colours.shape[1]), constant_values=_STRANGE)
    return _by_value(np.arange(256, dtype=np.uint16)[None], coding)[0]


def _by_value(values: NDArray, coding: LabelCoding) -> NDArray[np.uint8]:
    """Class of each pixel by exact comparison; a grey value equals the colour with three such channels."""
    classes = np.full(values.shape[:2], 0 if coding.unchanged is None else _STRANGE, np.uint8)
    for value, meaning in _meanings(coding):
        if values.ndim == 3:
            classes[(values == value).all(axis=2)] = meaning  # a number stands for its grey
        elif isinstance(value, int):
            classes[values == value] = meaning
        elif value[0] == value[1] == value[2]:
            classes[values == value[0]] = meaning
    return classes


def _nearest(label: RawLabel, coding: LabelCoding, path: str) -> NDArray[np.uint8]:
    """Class of the nearest value that has a meaning; black and white, where they have none, mean what others do."""
    colours = {_colour(value): meaning for value, meaning in _meanings(coding)}
    if coding.unchanged is None:
        colours = {(0, 0, 0): 0, (255, 255, 255): 0} | colours
    points = np.array(list(colours), np.int32)
    gaps = np.abs(points[:, None] - points[None]).max(axis=2) + 999 * np.eye(len(points), dtype=np.int32)
    kind = 'has noise between its values' if label.exact else 'is a JPEG, whose values are not exact'
    if points.max() > 255 or gaps.min() < _APART:
        raise UserError(
            f'the label {path} {kind}: save it as png or tif, so that {coding} can be distinguished'
        )
    if label.values.ndim == 2:
        if label.values.dtype != np.uint8:
            raise UserError(f'the label {path} {kind}, and has 16 bits: save it with 8')
        values = np.repeat(np.arange(256, dtype=np.int32)[None, :, None], 3, axis=2)
    else:
        values = label.values.astype(np.int32)
    distance = np.full(values.shape[:2], 255, np.uint8)
    classes = np.zeros(values.shape[:2], np.uint8)
    for point, meaning in zip(points, colours.values(), strict=True):
        off = np.abs(values - point).max(axis=2).astype(np.uint8)
        classes[off < distance] = meaning
        np.minimum(distance, off, out=distance)
    if label.values.ndim == 2:
        distance, classes = distance[0][label.values], classes[0][label.values]
    far = distance >= _APART if label.labelled is None else (distance >= _APART) & label.labelled
    grey = label.values.ndim == 2 and set(colours) == {(0, 0, 0), (255, 255, 255)}
    counts = value_counts(label) if grey else None
    empty = counts is not None and not counts[1:].any()
    if far.mean() > 0.05 or (counts is not None and not empty and not looks_lossy(counts, label.exact)):
        held = values_told(_distinct(label.values.reshape(-1, *label.values.shape[2:])))
        raise UserError(
            f'the label {path} contains {held}, which is more than noise around {coding}: correct it, or '
            f'{CURE}'
        )
    return classes


def _colour(value: Value) -> tuple[int, int, int]:
    return value if isinstance(value, tuple) else (value, value, value)


def _distinct(
    values: NDArray, palette: NDArray[np.uint8] | None = None, coding: LabelCoding | None = None
) -> set[Value]:
    """The values among pixels, (N,) or for colours (N, 3); of colours at most a few hundred."""
    if palette is not None and coding and any(isinstance(value, tuple) for value, _ in _meanings(coding)):
        values = palette[values]
    if values.ndim == 1:
        return {int(value) for value in np.unique(values)}
    packed = np.unique(values.astype(np.int32) @ np.array([65536, 256, 1], np.int32))
    return {(int(one) >> 16, int(one) >> 8 & 255, int(one) & 255) for one in packed[:300]}
