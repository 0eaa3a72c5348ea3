"""Declarations about the files of a data set: bands, stretch to 8 bits, nodata."""

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.images.raster import bands_text

__all__ = [
    'DEFAULT_STRETCH',
    'Reading',
    'Stretch',
    'add_reading_arguments',
    'apply_stretch',
    'parse_stretch',
    'reading_of',
]

Numbers = str | Sequence[int]


@dataclass(frozen=True)
class Stretch:
    """A range of values that becomes 0 to 255.

    Attributes:
        low: What becomes 0, a value or a percentile.
        high: What becomes 255.
        percent: Whether they are percentiles, to be found for each file over its bands together, so that hues remain.
    """

    low: float
    high: float
    percent: bool = False

    def __str__(self) -> str:
        unit = '%' if self.percent else ''
        return f'{self.low:g}{unit},{self.high:g}{unit}'

    def resolve(self, values: NDArray[Any]) -> 'Stretch':
        """Convert percentiles to values, by a file's valid values or a sample of them."""
        if not self.percent:
            return self
        low, high = np.percentile(values, [self.low, self.high]).tolist()
        if high > low and values.dtype.kind not in 'ui':
            return Stretch(low, high)
        # a huge value and its sum with 1 are the same
        return Stretch(low, max(high, low + 1, math.nextafter(low, math.inf)))


DEFAULT_STRETCH = Stretch(2, 98, percent=True)
"""For values of other than 8 bits, where none is declared [choice]."""


def parse_stretch(text: str) -> Stretch:
    """Read a stretch: ``0,3000`` are values, ``2%,98%`` percentiles."""
    number = r'\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*'
    match = re.fullmatch(f'{number}(%?)\\s*,{number}(%?)\\s*', text)
    if match and match[2] == match[4]:
        stretch = Stretch(float(match[1]), float(match[3]), bool(match[2]))
        if stretch.low < stretch.high and (not stretch.percent or 0 <= stretch.low < stretch.high <= 100):
            return stretch
    raise UserError(f"invalid stretch '{text}': expected LOW,HIGH as 0,3000, or percentiles as 2%,98%")


def apply_stretch(image: NDArray[np.generic], stretch: Stretch | None) -> NDArray[np.uint8]:
    """Convert values to 8 bits, NaN to 0; without a stretch they are 8 bits already."""
    if stretch is None:
        return image.astype(np.uint8, copy=False)
    scaled = image.astype(np.result_type(image, np.float32))  # float64 for 32 bits, which float32 would round
    with np.errstate(over='ignore'):  # what is larger than the type becomes infinite, and then 255
        scaled -= scaled.dtype.type(stretch.low)
        scaled *= scaled.dtype.type(255 / (stretch.high - stretch.low))
    np.nan_to_num(scaled, copy=False, nan=0, posinf=255, neginf=0)
    np.clip(scaled, 0, 255, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.uint8)


@dataclass(frozen=True)
class Reading:
    """How the files of a data set are read; None: as each file declares.

    Attributes:
        bands: Numbers of the bands from 1, in the order in which the network gets them. Three are red, green and blue
            to it, whatever they show.
        bands_after: Those of the second date, where they are others.
        stretch: What becomes 0 and 255; undeclared, 8 bits stay as they are and other values go from the 2nd to the
            98th percentile of each file.
        nodata: Value that means "no data" where all bands read have it, beside what the files themselves declare.

    Example:
        >>> reading = Reading.make(bands='4,3,2', stretch='0,3000')
        >>> reading.bands, reading.channels
        ((4, 3, 2), 3)
    """

    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    stretch: Stretch | None = None
    nodata: float | None = None

    def __post_init__(self) -> None:
        dates = [date for date in (self.bands, self.bands_after) if date is not None]
        if any(not date or min(date) < 1 for date in dates) or len({len(date) for date in dates}) > 1:
            text = '/'.join(map(bands_text, dates))
            raise UserError(
                f"invalid bands '{text}': expected numbers from 1, as 3,2,1, or as many for before and after, as "
                '1,2,3/3,2,1'
            )

    @classmethod
    def make(
        cls,
        bands: Numbers | None = None,
        stretch: str | Stretch | Sequence[float] | None = None,
        nodata: str | float | None = None,
    ) -> 'Reading':
        """Parse the options of a command line or a config.

        Args:
            bands: ``'3,2,1'``, ``[3, 2, 1]``, or ``'1,2,3/3,2,1'`` for before and after.
            stretch: ``'0,3000'``, ``[0, 3000]`` or ``'2%,98%'``.
            nodata: A number; ``'nan'`` is one.

        Raises:
            UserError: for what is none of these.
        """
        before, after = _parse_bands(bands) if bands is not None else (None, None)
        if isinstance(stretch, Sequence) and not isinstance(stretch, str):
            stretch = ','.join(map(str, stretch))
        try:
            value = None if nodata is None else float(nodata)
        except (TypeError, ValueError):
            raise UserError(f"invalid nodata '{nodata}': expected a number, as 0, or nan") from None
        return cls(before, after, parse_stretch(stretch) if isinstance(stretch, str) else stretch, value)

    @classmethod
    def from_dict(cls, written: Mapping[str, Any] | None) -> 'Reading':
        """Undo :meth:`to_dict`; missing entries were not declared."""
        known = written or {}
        return cls.make(known.get('bands'), known.get('stretch'), known.get('nodata'))

    def to_dict(self) -> dict[str, str | None]:
        """The declarations as plain text, for checkpoints, exported models and summaries."""
        bands = None
        if self.bands is not None:
            bands = '/'.join(bands_text(part) for part in (self.bands, self.bands_after) if part is not None)
        return {
            'bands': bands,
            'stretch': None if self.stretch is None else str(self.stretch),
            'nodata': None if self.nodata is None else f'{self.nodata:.17g}',
        }

    @property
    def channels(self) -> int:
        """Number of bands of one date."""
        return 3 if self.bands is None else len(self.bands)

    def of_date(self, date: int) -> 'Reading':
        """The reading of the files of date 0 or date 1 alone."""
        bands = self.bands_after if date and self.bands_after is not None else self.bands
        return replace(self, bands=bands, bands_after=None)

    def over(self, trained: 'Reading') -> tuple['Reading', list[str]]:
        """This reading, completed by the one that a model was trained with.

        What the model was trained with holds for what is not declared here.

        Returns:
            The reading, and a sentence where bands or stretch differ from those that the model declares.
        """
        ours, theirs = self.to_dict(), trained.to_dict()
        notes = list[str]()
        for name, value in ours.items():
            # Nodata is a property of the files alone; so are the others for a model that declares none.
            if name != 'nodata' and theirs[name] is not None and value not in (None, theirs[name]):
                notes.append(
                    f'the model was trained with --{name} {theirs[name]}; --{name} {value} differs from that'
                )
        merged = {name: theirs[name] if value is None else value for name, value in ours.items()}
        return Reading.from_dict(merged), notes

    def for_model(self, name: str, trained: 'Reading') -> tuple['Reading', list[str]]:
        """The same for a named model, which requires the number of bands of its training."""
        reading, notes = self.over(trained)
        if reading.channels != trained.channels:
            raise UserError(
                f'{name} takes {trained.channels} bands per date, not {reading.channels}: give as many with --bands'
            )
        return reading, notes


def _parse_bands(bands: Numbers) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    text = bands if isinstance(bands, str) else ','.join(map(str, bands))
    try:
        dates = [tuple(int(number) for number in part.split(',')) for part in text.split('/')]
        if len(dates) > 2:
            raise ValueError
    except ValueError:
        raise UserError(
            f"invalid bands '{text}': expected numbers from 1, as 3,2,1, or 1,2,3/3,2,1"
        ) from None
    return dates[0], dates[1] if len(dates) > 1 else None


def add_reading_arguments(parser: argparse.ArgumentParser, default: str = 'as the files say') -> None:
    """Add ``--bands``, ``--stretch`` and ``--nodata``, the same for every command."""
    group = parser.add_argument_group('reading images')
    group.add_argument(
        '--bands',
        metavar='N,N,...',
        help='numbers of the bands to read, red, green and blue first, such as 3,2,1; 1,2,3/3,2,1 for before and '
        f'after; four or more if the network takes as many [{default}]',
    )
    group.add_argument(
        '--stretch',
        metavar='LOW,HIGH',
        help='what is scaled to 0 and 255: values such as 0,3000 or percentiles of each file such as 2%%,98%% [8-bit '
        'files unscaled, others 2%%,98%%]',
    )
    group.add_argument('--nodata', metavar='V', help=f'value of pixels without data [{default}]')


def reading_of(args: argparse.Namespace) -> Reading:
    """The reading declared by the options of :func:`add_reading_arguments`."""
    return Reading.make(args.bands, args.stretch, args.nodata)
