"""Changed regions of a scene as polygons, strip by strip."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.transform import Affine

from hsonet_mm.images.raster import coordinates

__all__ = ['Polygon', 'Polygoniser']

STRIP_PIXELS = 2_000_000
"""Pixels looked at together: strips are lower the wider the scene."""

ReadRows = Callable[[int, int], tuple[NDArray[np.uint8], NDArray[np.float32]]]


@dataclass(frozen=True)
class Polygon:
    """A changed region in coordinates of the scene, its area in square metres, and its mean probability."""

    geometry: Any
    area: float
    prob: float


@dataclass(eq=False)
class _Region:
    """A region, or the part of it in a strip; parts that meet share one root."""

    pieces: list[Any]
    pixels: int
    area: float
    total: float
    parent: '_Region | None' = None

    def root(self) -> '_Region':
        region = self
        while region.parent is not None:
            region = region.parent
        return region

    def join(self, other: '_Region') -> None:
        """Take over another root."""
        if other is not self:
            self.pieces += other.pieces
            self.pixels, self.area = self.pixels + other.pixels, self.area + other.area
            self.total += other.total
            other.pieces, other.parent = [], self


@dataclass
class Polygoniser:
    """Finds the changed regions of a scene (4-connectivity), and counts pixels.

    The scene is looked at in strips. A region is given out as soon as a strip no longer touches it, so that
    memory depends on the regions that cross one line, not on the scene.

    Attributes:
        read_rows: From first row and the one after the last to mask (1 changed, 0 not, else nodata) and probabilities.
        pixel_areas: Square metres of pixels at (rows, columns).
        min_area: Regions smaller than this many square metres are counted, but not given out.
    """

    read_rows: ReadRows
    width: int
    height: int
    transform: Affine
    pixel_areas: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
    min_area: float = 0.0
    valid: int = field(default=0, init=False)
    changed: int = field(default=0, init=False)
    changed_area: float = field(default=0.0, init=False)
    given: int = field(default=0, init=False)
    small: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[Polygon]:
        step = max(1, min(1024, STRIP_PIXELS // self.width))
        edge, waiting = np.zeros(self.width, np.int32), list[_Region]()  # regions at the edge, by number
        for top in range(0, self.height, step):
            bottom = min(top + step, self.height)
            labels, regions = self._strip(top, bottom, last=bottom == self.height)
            meeting = (edge > 0) & (labels[0] > 0)
            for above, below in np.unique(np.stack([edge, labels[0]])[:, meeting], axis=1).T:
                waiting[above - 1].root().join(regions[below].root())
            going_on = [] if bottom == self.height else np.unique(labels[-1][labels[-1] > 0]).tolist()
            open_roots = {id(regions[label].root()) for label in going_on}
            ended = {id(region.root()): region.root() for region in (*waiting, *regions.values())}
            yield from self._give(region for key, region in ended.items() if key not in open_roots)
            waiting = [regions[label] for label in going_on]
            number = np.zeros(labels.max() + 1, np.int32)
            number[going_on] = np.arange(1, len(going_on) + 1)
            edge = number[labels[-1]]

    def _strip(self, top: int, bottom: int, last: bool) -> tuple[NDArray[np.int32], dict[int, _Region]]:
        """Label the regions of a strip; complete ones that are too small are counted and dropped."""
        mask, probs = self.read_rows(top, bottom)
        changed = mask == 1
        count, labels, stats, centres = cv2.connectedComponentsWithStats(
            changed.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S
        )
        centres = np.nan_to_num(centres)  # that of the rest, where there is none
        pixels = stats[:, cv2.CC_STAT_AREA]
        areas = pixels * self.pixel_areas(centres[:, 1] + top + 0.5, centres[:, 0] + 0.5)
        totals = np.bincount(labels[changed], probs[changed], minlength=count)
        self.valid += int(np.count_nonzero(mask <= 1))
        self.changed += int(pixels[1:].sum())
        self.changed_area += float(areas[1:].sum())
        wanted = areas >= self.min_area
        if top:
            wanted[labels[0]] = True
        if not last:
            wanted[labels[-1]] = True
        wanted[0] = False
        self.small += int(count - 1 - wanted.sum())
        labels[~wanted[labels]] = 0
        regions = {
            int(label): _Region(
                [_shape(outline)], int(pixels[int(label)]), areas[int(label)], totals[int(label)]
            )
            for outline, label in shapes(labels, labels > 0, transform=Affine.translation(0, top))
        }
        return labels, regions

    def _give(self, regions: Iterator[_Region]) -> Iterator[Polygon]:
        for region in regions:
            if region.area < self.min_area:
                self.small += 1
                continue
            geometry = region.pieces[0]
            if len(region.pieces) > 1:  # corners are whole numbers, so that parts fit; those on seams go
                geometry = shapely.simplify(shapely.union_all(region.pieces), 0)
            geometry = shapely.transform(geometry, self._coordinates)
            if not geometry.is_valid:
                geometry = shapely.make_valid(geometry)
            self.given += 1
            yield Polygon(geometry, float(region.area), float(region.total / region.pixels))

    def _coordinates(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(coordinates(self.transform, places[:, 0], places[:, 1]), axis=1)


def _shape(outline: dict[str, Any]) -> Any:
    shell, *holes = outline['coordinates']
    return shapely.Polygon(shell, holes)
