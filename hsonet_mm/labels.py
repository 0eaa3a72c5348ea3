"""Change labels in files: how their values are declared, and how they are read by that.

A label is a picture whose values mean changed, unchanged or "not labelled". Which value means what is a property of a
whole data set, its :class:`LabelCoding`: declared by the user, or found out over all labels by
:mod:`hsonet_mm.label_survey`. A file that does not keep to it stops with its name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from hsonet_mm.errors import UserError

__all__ = [
    'CURE', 'IGNORED', 'LabelCoding', 'RawLabel', 'Value', 'classes_of', 'looks_lossy', 'no_label', 'parse_values',
    'raw_label', 'value_counts', 'value_text', 'values_told',
]  # fmt: skip

Value = int | tuple[int, int, int]
"""A value of a one-band label, or a colour (red, green, blue)."""

IGNORED = 255
"""What a pixel that is not labelled becomes, beside 0 (unchanged) and 1 (changed)."""

CURE = (
    'name what means changed by --changed-values and "not labelled" by --ignore-value (in a config changed_values and '
    'ignore_value)'
)

_APART = 64
"""Steps that values must lie apart to be told from each other in a JPEG, and that a pixel may be off [choice]."""


class RawLabel(NamedTuple):
    """A label as it stands in its file.

    Attributes:
        values: (H, W) whole numbers, or (H, W, 3) uint8 colours.
        labelled: (H, W), False where the file itself says that there is nothing; None: everywhere something.
        exact: whether the values are those that were saved; False for JPEG.
        palette: (N, 3) colours of the values, where the file has some that are not grey.
    """

    values: NDArray
    labelled: NDArray[np.bool_] | None = None
    exact: bool = True
    palette: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class LabelCoding:
    """What the values of a data set's labels mean.

    Args:
        changed: values that mean changed.
        unchanged: values that mean unchanged; None: all others.
        ignored: values that mean "not labelled".
        lossy: whether values lie near these, as after a lossy compression: a pixel then takes the nearest.
        written: the file that says so, for messages; empty: none.
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
            raise UserError(
                f'the label value {value_text(min(twice, key=str))} has two meanings: give it one'
            )

    def __str__(self) -> str:
        unchanged = 'others' if self.unchanged is None else ','.join(map(value_text, self.unchanged))
        parts = [f'{unchanged}/{" ".join(map(value_text, self.changed))}']
        parts += [f'{" ".join(map(value_text, self.ignored))} not labelled'] if self.ignored else []
        told = ', '.join(parts + (['with noise'] if self.lossy else []))
        return f'{told}, as {self.written} says' if self.written else told


def parse_value(text: object) -> Value:
    """Read a value of a label as users write it: ``2``, ``'255,0,0'``, ``[255, 0, 0]``, ``'#ff0000'``, ``'red'``.

    Raises:
        UserError: if it is none.
    """
    try:
        if isinstance(text, str) and not text.strip().isdigit():
            numbers = text.split(',')
            if len(numbers) != 3:
                colour = ImageColor.getrgb(text.strip())
                return colour[0], colour[1], colour[2]
            text = numbers
        if isinstance(text, (list, tuple)):
            red, green, blue = (int(number) for number in text)
            if all(0 <= number <= 255 for number in (red, green, blue)):
                return red, green, blue
        elif isinstance(text, (int, str)) and not isinstance(text, bool) and 0 <= int(text) <= 65535:
            return int(text)
    except ValueError:
        pass
    raise UserError(
        f'invalid label value {text!r}: expected a number from 0 to 65535, R,G,B or the name of a colour'
    )


def parse_values(given: object) -> tuple[Value, ...]:
    """Read one value or a sequence of them; None is none, see :func:`parse_value`."""
    if given is None:
        return ()
    return tuple(map(parse_value, given if isinstance(given, (list, tuple)) else (given,)))


def value_text(value: Value) -> str:
    """A value as users write it."""
    return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)


def values_told(values: Iterable[Value]) -> str:
    """A few of the values, for a message."""
    texts = [value_text(value) for value in sorted(values, key=lambda one: (str(type(one)), one))]
    return ', '.join(texts[:5]) + (f' and more up to {texts[-1]}' if len(texts) > 5 else '')


def raw_label(image: Image.Image, path: str) -> RawLabel:
    """The values of a label as they stand in the file.

    A palette image gives its colours if these are grey and else its indices with their colours; a colour image its
    grey, if the channels agree (in a JPEG: to 32 steps), and else its colours. What is wholly transparent is not
    labelled.

    Args:
        image: The decoded file.
        path: What messages call it.

    Raises:
        UserError: if the values are not whole numbers from 0 to 65535.
    """
    exact, labelled, palette = image.format != 'JPEG', None, None
    if image.mode in ('LA', 'PA', 'RGBA') or (
        image.mode in ('1', 'L', 'P', 'RGB') and 'transparency' in image.info
    ):
        opaque = np.asarray(image.convert('RGBA').getchannel('A')) > 0
        labelled = None if opaque.all() else opaque
    if image.mode in ('1', 'LA'):
        image = image.convert('L')
    values = np.asarray(image if image.mode not in ('P', 'PA', 'RGBA') else image.convert('RGB'))
    if values.ndim == 3:
        seen = values if labelled is None else values[labelled]
        spread = int((seen.max(axis=-1) - seen.min(axis=-1)).max(initial=0))
        if spread <= (0 if exact else 32):
            values = values[..., 1]
        elif image.mode == 'P':
            palette = np.array(image.getpalette('RGB'), np.uint8).reshape(-1, 3)
            values = np.asarray(image)
    if values.dtype != np.uint8:
        seen = values if labelled is None else values[labelled]
        if seen.size and not (np.all(seen == np.floor(seen)) and seen.min() >= 0 and seen.max() <= 65535):
            raise UserError(
                f'the label {path} holds values from {seen.min():g} to {seen.max():g}: write 0 for unchanged and 1 or '
                f'255 for changed'
            )
        values = np.where(True if labelled is None else labelled, values, 0).astype(np.uint16)
        values = values.astype(np.uint8) if values.max(initial=0) < 256 else values
    return RawLabel(values, labelled, exact, palette)


def classes_of(label: RawLabel, coding: LabelCoding, path: str) -> NDArray[np.uint8]:
    """Read a label by the coding of its data set.

    Args:
        label: The label.
        coding: What its values mean.
        path: What messages call the file.

    Returns:
        0 unchanged, 1 changed, :data:`IGNORED` not labelled; (H, W).

    Raises:
        UserError: if the label holds values without a meaning, or its values are not exact enough to be told apart.
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
            f'the label {path} holds {held}, and the labels of this data set are coded {coding}: correct it, or {CURE}'
        )
    return classes


_STRANGE = 254


def _meanings(coding: LabelCoding) -> list[tuple[Value, int]]:
    """Every value that means something, with its class."""
    named = ((coding.changed, 1), (coding.unchanged or (), 0), (coding.ignored, IGNORED))
    return [(value, meaning) for values, meaning in named for value in values]


def _other(coding: LabelCoding) -> int:
    return 0 if coding.unchanged is None else _STRANGE


@lru_cache(maxsize=8)
def _table(coding: LabelCoding, palette: bytes | None) -> NDArray[np.uint8]:
    """Class of each of the 256 values; those of a palette image go by their colours where the coding names some."""
    if palette is not None and any(isinstance(value, tuple) for value, _ in _meanings(coding)):
        colours = np.frombuffer(palette, np.uint8).reshape(1, -1, 3)
        return np.pad(_by_value(colours, coding)[0], (0, 256 - colours.shape[1]), constant_values=_STRANGE)
    return _by_value(np.arange(256, dtype=np.uint16)[None], coding)[0]


def _by_value(values: NDArray, coding: LabelCoding) -> NDArray[np.uint8]:
    """Class of each pixel by exact comparison; a grey value and the colour of three such channels are the same."""
    classes = np.full(values.shape[:2], _other(coding), np.uint8)
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
        raise UserError(f'the label {path} {kind}: save it as png or tif, so that {coding} can be told apart')
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
            f'the label {path} holds {held}, which is more than noise around {coding}: correct it, or {CURE}'
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


def value_counts(label: RawLabel) -> NDArray[np.int64]:
    """How many labelled pixels have each value of a one-band label, (256,) or longer."""
    values = label.values.ravel() if label.labelled is None else label.values[label.labelled]
    strips = np.array_split(values, 1 + values.size // 2**24)  # bincount takes 8 bytes a value
    length = 256 if label.values.dtype == np.uint8 else 65536
    return np.sum([np.bincount(strip, minlength=length) for strip in strips], axis=0)


def looks_lossy(counts: NDArray[np.int64], exact: bool) -> bool:
    """Whether a label looks like a mask of 0 and 255 with noise of compression, which is cut at 128.

    At most 5 % of the pixels are in 64..191. Noise comes on both sides of an outline, so where something reaches 128,
    values of 1..63 that are more than 1 % of the pixels, and a hundred times as frequent as 192..254, are classes.
    Where nothing does, a file of exact values has none to cut; a JPEG of one value below 16 is black as its compression
    rounds it, and in another there are classes if more than 1 % of the pixels are above 1, or more than 5 % are 1. The
    limits are our choice.

    Args:
        counts: Labelled pixels by value, (256,).
        exact: Whether the values are those that were saved.
    """
    shares = counts / max(1, counts.sum())
    if shares[:16].max() == 1 and not exact:
        return True
    if counts[128:].any():
        classes = shares[1:64].sum() > max(0.01, 100 * shares[192:255].sum())
    else:
        classes = exact or shares[2:].sum() > 0.01 or shares[1] > 0.05
    return bool(not classes and shares[64:192].sum() <= 0.05)


def no_label(image: str) -> UserError:
    """The mistake of an image that comes without a label to where one is needed."""
    return UserError(
        f'{image} comes without a label: give seg_map_path in data_prefix and load it with '
        'hsonet_mm.MultiImgLoadAnnotations, or use hsonet predict'
    )
