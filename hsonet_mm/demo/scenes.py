"""What a demo scene is made of at both dates: ground, buildings, trees, vehicles, clouds; no pixels yet.

Units are pixels of the final image (about 0.5 m); x points right, y down. Angles of rectangles are in radians
from x to y; the sun's azimuth is in degrees clockwise from north (up), its elevation in degrees above the
horizon. A pair of values is always (date 1, date 2), but for the grass of a scene.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

__all__ = ['RGB', 'Building', 'Cloud', 'Patch', 'Rect', 'ScenePlan', 'Sun', 'Tree', 'Vehicle', 'Window']

RGB = tuple[float, float, float]
Window = tuple[slice, slice]


class Rect(NamedTuple):
    """A rectangle around (x, y), its length along ``angle``."""

    x: float
    y: float
    length: float
    width: float
    angle: float

    def corners(self) -> list[tuple[float, float]]:
        """The four corners (x, y) in order."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        ends = ((0.5, 0.5), (0.5, -0.5), (-0.5, -0.5), (-0.5, 0.5))
        around = [(u * self.length, v * self.width) for u, v in ends]
        return [(self.x + u * c - v * s, self.y + u * s + v * c) for u, v in around]

    def window(self, size: int, scale: int = 1) -> Window:
        """Rows and columns of a ``scale`` times finer image of ``size`` pixels that hold the rectangle."""
        c, s = abs(math.cos(self.angle)), abs(math.sin(self.angle))
        half_x, half_y = (self.length * c + self.width * s) / 2, (self.length * s + self.width * c) / 2
        edges = (self.y - half_y, self.y + half_y, self.x - half_x, self.x + half_x)
        y0, y1, x0, x1 = (min(max(round(edge * scale), 0), size * scale) for edge in edges)
        return slice(y0, y1), slice(x0, x1)

    def local(self, window: Window, scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates along and across the rectangle, from its centre, of the pixel centres in a window."""
        rows, columns = window
        y = (np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + 0.5) / scale - self.y
        x = (np.arange(columns.start, columns.stop, dtype=np.float32)[None] + 0.5) / scale - self.x
        c, s = math.cos(self.angle), math.sin(self.angle)
        return x * c + y * s, y * c - x * s

    def inside(self, window: Window, scale: int = 1) -> np.ndarray:
        """Which pixel centres of a window lie in the rectangle."""
        u, v = self.local(window, scale)
        return (np.abs(u) <= self.length / 2) & (np.abs(v) <= self.width / 2)

    def meets(self, size: int) -> bool:
        """Whether any of it may lie in an image of ``size`` pixels."""
        return all(part.stop > part.start for part in self.window(size))

    def grown(self, margin: float) -> 'Rect':
        """The rectangle with ``margin`` more on every side."""
        return self._replace(length=self.length + 2 * margin, width=self.width + 2 * margin)

    def part(self, u: float, v: float, length: float, width: float) -> 'Rect':
        """A rectangle given in the coordinates of this one."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return Rect(self.x + u * c - v * s, self.y + u * s + v * c, length, width, self.angle)


class Sun(NamedTuple):
    """Where the sun stands, in degrees."""

    azimuth: float
    elevation: float

    @property
    def away(self) -> tuple[float, float]:
        """Unit vector (x, y) in the image in which shadows fall."""
        azimuth = math.radians(self.azimuth)
        return -math.sin(azimuth), math.cos(azimuth)

    @property
    def shadow_length(self) -> float:
        """Length of the shadow of an object of height 1."""
        return 1 / math.tan(math.radians(self.elevation))


@dataclass
class Patch:
    """A rectangle of ground: a field, a lawn, a road, a mark; ``rows`` is the spacing of crop rows."""

    rect: Rect
    colours: tuple[RGB, RGB]
    grain: float = 0.05
    rows: float = 0.0
    kind: str | None = None  # hard case that it is, if any


@dataclass
class Building:
    """A building of one or two rectangular parts; ``site`` is the ground in its place where it is absent."""

    parts: tuple[Rect, ...]
    roof: str  # flat, gable or hip
    height: float
    colours: tuple[RGB, RGB]
    present: tuple[bool, bool] = (True, True)
    site: Patch | None = None

    @property
    def changed(self) -> bool:
        """Whether it appeared or vanished."""
        return self.present[0] != self.present[1]

    def footprint(self, size: int) -> tuple[Window, np.ndarray]:
        """The part of the image that holds the building, and which pixels of it do, seen or not."""
        windows = [part.window(size) for part in self.parts]
        rows, columns = zip(*windows, strict=True)
        window = (
            slice(min(r.start for r in rows), max(r.stop for r in rows)),
            slice(min(c.start for c in columns), max(c.stop for c in columns)),
        )
        return window, np.logical_or.reduce([part.inside(window) for part in self.parts])


@dataclass
class Tree:
    """A crown; ``shape`` selects one of the crown forms."""

    x: float
    y: float
    radius: float
    colours: tuple[RGB, RGB]
    shape: int
    present: tuple[bool, bool] = (True, True)


@dataclass
class Vehicle:
    """A car or truck."""

    rect: Rect
    colour: RGB
    present: tuple[bool, bool]


class Cloud(NamedTuple):
    """A cloud at one date (0 or 1); its shadow falls ``drop`` pixels away from the sun."""

    x: float
    y: float
    radius: float
    date: int
    drop: float


@dataclass
class ScenePlan:
    """Everything that the renderer needs; ``land`` is drawn first, then ``paved``, then the rest.

    Attributes:
        grass: Colours of grass and of the bare places in it, at both dates.
        light: Factors of the channels of each image.
        illumination: Whether the light of the two images differs strongly.
        shift: How far the second image is off, (x, y).
    """

    size: int
    suns: tuple[Sun, Sun]
    grass: tuple[RGB, RGB]
    light: tuple[RGB, RGB] = ((1, 1, 1), (1, 1, 1))
    illumination: bool = False
    shift: tuple[float, float] = (0.0, 0.0)
    land: list[Patch] = field(default_factory=list)
    paved: list[Patch] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    vehicles: list[Vehicle] = field(default_factory=list)
    clouds: list[Cloud] = field(default_factory=list)
