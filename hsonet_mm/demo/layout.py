"""The layout of a demo scene at both dates: streets, and along them land in several uses.

Streets form a grid in a rotated frame (u along, v across, origin in the middle of the image); every block
between them gets a land use. All of it is our own choice; sizes are those of towns at 0.5 m a pixel.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from hsonet_mm.demo import palette
from hsonet_mm.demo.draw import Draw
from hsonet_mm.demo.scenes import RGB, Building, Patch, Rect, ScenePlan, Sun, Tree, Vehicle

__all__ = ['Layout']

LAND_USE = ['homes'] * 8 + ['apartments'] * 3 + ['works'] * 3 + ['fields'] * 2 + ['wood']
ROAD, CROSS_ROAD, VERGE = 11.0, 9.0, 9.0
"""Widths of streets along and across, and the distance of a block from their middle lines."""
DATES = [(True, False), (False, True), (True, False), (False, True), (True, True)]


class Layout:
    """A scene under construction."""

    def __init__(self, size: int, draw: Draw) -> None:
        self.size, self.draw = size, draw
        self.angle = draw.between(-math.pi / 4, math.pi / 4)
        self.taken = np.zeros((size, size), bool)
        self.autumn = draw.chance(0.35)
        sun = Sun(draw.between(110, 250), draw.between(34, 58))
        later = sun._replace(azimuth=sun.azimuth + draw.between(-4, 4))
        if draw.chance(0.55):  # another time of day or year
            later = Sun(360 - sun.azimuth + draw.between(-20, 20), draw.between(30, 60))
        self.scene = ScenePlan(
            size, (sun, later), (draw.tint(draw.pick(palette.LAWNS)), draw.tint(draw.pick(palette.SOILS)))
        )
        self._streets()

    # -- things
    def rect(self, u: float, v: float, length: float, width: float, turn: float = 0.0) -> Rect:
        """A rectangle given in the frame of the streets."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        middle = self.size / 2
        return Rect(middle + u * c - v * s, middle + u * s + v * c, length, width, self.angle + turn)

    def patch(
        self,
        layer: list[Patch],
        rect: Rect,
        colour: RGB,
        grain: float = 0.05,
        rows: float = 0.0,
        later: RGB | None = None,
        kind: str | None = None,
    ) -> None:
        """Put ground into a layer, of hard case ``kind`` if it has another colour at date 2."""
        if rect.meets(self.size):
            layer.append(Patch(rect, (colour, later or colour), grain, rows, kind if later else None))

    def vehicle(self, rect: Rect) -> None:
        """Put a vehicle at one date or, rarely, at both."""
        if rect.meets(self.size):
            colour = self.draw.tint(self.draw.pick(palette.CARS))
            self.scene.vehicles.append(Vehicle(rect, colour, self.draw.pick(DATES)))

    def building(self, parts: Sequence[Rect], roof: str, height: float) -> None:
        """Put up a building, unless it would touch another or hardly be in the image."""
        if not any(part.meets(self.size) for part in parts):
            return
        colour = self.draw.tint(self.draw.pick(palette.FLAT_ROOFS if roof == 'flat' else palette.ROOFS))
        building = Building(tuple(parts), roof, height, (colour, colour))
        window, mask = building.footprint(self.size)
        around = [(part.grown(2).window(self.size), part.grown(2)) for part in parts]
        if mask.sum() < 25 or any((self.taken[near] & part.inside(near)).any() for near, part in around):
            return
        self.taken[window] |= mask
        self.scene.buildings.append(building)

    def tree(self, x: float, y: float, radius: float, present: tuple[bool, bool] = (True, True)) -> None:
        """Plant a tree; in autumn most crowns turn."""
        if -radius < x < self.size + radius and -radius < y < self.size + radius:
            green = self.draw.tint(self.draw.pick(palette.CROWNS), 0.1)
            turns = self.autumn and self.draw.chance(0.75)
            later = self.draw.tint(self.draw.pick(palette.AUTUMN), 0.1) if turns else green
            self.scene.trees.append(Tree(x, y, radius, (green, later), self.draw.pick(range(6)), present))

    def trees(
        self, u: tuple[float, float], v: tuple[float, float], number: int, radius: tuple[float, float]
    ) -> None:
        """Plant trees in a range of the frame, but not on a building."""
        for _ in range(number):
            spot = self.rect(self.draw.between(*u), self.draw.between(*v), 1, 1)
            row, column = int(spot.y), int(spot.x)
            if 0 <= row < self.size and 0 <= column < self.size and not self.taken[row, column]:
                self.tree(spot.x, spot.y, self.draw.between(*radius))

    # -- streets and blocks
    def _streets(self) -> None:
        """Fill the blocks of the grid, then lay the streets between them."""
        draw, paved, reach = self.draw, self.scene.paved, 0.75 * self.size
        lengthwise = list(self._cuts(reach, 74, 108))
        across = list(self._cuts(reach, 120, 200))
        blocks = itertools.product(itertools.pairwise(across), itertools.pairwise(lengthwise))
        for (u0, u1), (v0, v1) in blocks:
            block = self.rect((u0 + u1) / 2, (v0 + v1) / 2, u1 - u0 - 2 * VERGE, v1 - v0 - 2 * VERGE)
            if block.meets(self.size):
                fill = getattr(self, f'_{draw.pick(LAND_USE)}')
                fill(block, u0 + VERGE, u1 - VERGE, v0 + VERGE, v1 - VERGE)
        asphalt = draw.tint(draw.pick(palette.ASPHALTS), 0.03)
        for margin, colour in ((2.2, draw.tint(palette.PAVEMENT, 0.03)), (0.0, asphalt)):
            for u in across:
                road = self.rect(u, 0, 2 * reach, CROSS_ROAD, math.pi / 2)
                self.patch(paved, road.grown(margin), colour, 0.03)
            for v in lengthwise:
                self.patch(paved, self.rect(0, v, 2 * reach, ROAD).grown(margin), colour, 0.03)
        for v in lengthwise:
            if draw.chance(0.3):
                rect = self.rect(draw.between(-0.4, 0.4) * self.size, v, draw.between(40, 90), ROAD)
                later = draw.tint(palette.FRESH_ASPHALT)
                self.patch(paved, rect, asphalt, 0.02, later=later, kind='resurfacing')
            for u in np.arange(-reach, reach, 9):
                self.patch(paved, self.rect(u, v, 4.5, 0.7), palette.MARK, 0.02)
            for u in np.arange(-reach, reach, 34):
                if draw.chance(0.5):
                    long = draw.pick([8.5, 8.5, 9.5, 17.0])
                    self.vehicle(self.rect(u + draw.between(0, 20), v + draw.pick([-2.8, 2.8]), long, 4.2))

    def _cuts(self, reach: float, nearest: float, farthest: float) -> Iterator[float]:
        """Positions of parallel streets from -reach to beyond reach."""
        cut = self.draw.between(-reach, -reach + nearest)
        while cut < reach:
            yield cut
            cut += self.draw.between(nearest, farthest)
        yield cut

    def _lawn(self, block: Rect) -> None:
        self.patch(self.scene.land, block, self.draw.tint(self.draw.pick(palette.LAWNS)), 0.08)

    def _homes(self, block: Rect, u0: float, u1: float, v0: float, v1: float) -> None:
        """Detached houses in gardens, one or two rows, facing the streets."""
        draw = self.draw
        self._lawn(block)
        rows = [(v0, 1), (v1, -1)] if v1 - v0 > 56 else [(v0, 1)]
        depth = (v1 - v0) / len(rows)
        for front, inward in rows:
            u = u0 + draw.between(0, 4)
            while u + 24 < u1:
                lot = min(draw.between(27, 44), u1 - u)
                middle, garden = u + lot / 2, front + inward * depth
                if self.rect(middle, (front + garden) / 2, lot, depth).meets(self.size):
                    self._lot(middle, lot, front, inward, depth)
                    self.trees((u, u + lot), (garden - inward * 14, garden), draw.pick([0, 1, 2]), (3.5, 6.5))
                u += lot

    def _lot(self, u: float, lot: float, front: float, inward: int, depth: float) -> None:
        """One home: lawn, drive, house, shed; or a bare place."""
        draw = self.draw
        length, width = lot * draw.between(0.58, 0.76), draw.between(14, min(22, depth * 0.62))
        v = front + inward * (draw.between(4, 7) + width / 2)
        self._lawn(self.rect(u, front + inward * depth / 2, lot, depth))
        if draw.chance(0.12):  # bare at both dates
            soil = draw.tint(draw.pick(palette.SOILS))
            self.patch(self.scene.land, self.rect(u, v, length, width), soil, 0.1)
        else:
            drive = self.rect(u - lot / 2 + 3.5, front + inward * depth * 0.25, 5, depth * 0.5)
            self.patch(self.scene.paved, drive, draw.tint(palette.PAVEMENT, 0.08), 0.03)
            if draw.chance(0.5):
                self.vehicle(drive.part(0, draw.between(-3, 3), 4.2, 8.5))
            self._house(u + 2, v, length - 4, width)
        if draw.chance(0.7):
            side = draw.between(-0.35, 0.35) * lot
            shed = self.rect(u + side, front + inward * (depth - 7), draw.between(5, 9), draw.between(6, 9.5))
            self.building([shed], draw.pick(['flat', 'gable']), 4.5)

    def _house(self, u: float, v: float, length: float, width: float) -> None:
        """A house, with its ridge along its longer side, some with a wing."""
        draw = self.draw
        parts = [self.rect(u, v, length, width, draw.between(-0.03, 0.03))]
        if width > length:
            parts = [parts[0]._replace(length=width, width=length, angle=parts[0].angle + math.pi / 2)]
        elif draw.chance(0.35):
            wing = width * 0.6
            end = draw.pick([-1, 1]) * (length - wing) / 2
            spot = parts[0].part(end, draw.pick([-0.35, 0.35]) * width, 1, 1)
            parts.append(Rect(spot.x, spot.y, width * 1.1, wing, spot.angle + math.pi / 2))
        self.building(parts, draw.pick(['gable', 'gable', 'hip', 'flat']), draw.between(8, 12))

    def _apartments(self, block: Rect, u0: float, u1: float, v0: float, v1: float) -> None:
        """Tall slabs with long shadows, low garages between them, a parking lot."""
        draw = self.draw
        self._lawn(block)
        self._parking(u1 - 26, u1 - 4, v0 + 4, v1 - 6)
        for u in np.arange(u0 + 24, u1 - 44, draw.between(38, 46)):
            slab = self.rect(u, (v0 + v1) / 2, (v1 - v0) * draw.between(0.7, 0.9), 15, math.pi / 2)
            self.building([slab], 'flat', draw.between(24, 40))
            for share in (0.25, 0.75):
                spot = u + draw.pick([-1, 1]) * 16, v0 + share * (v1 - v0)
                self.building([self.rect(*spot, draw.between(10, 12), draw.between(13, 20))], 'flat', 5)
        self.trees((u0, u1 - 30), (v0, v1), 14, (4, 7))

    def _works(self, block: Rect, u0: float, u1: float, v0: float, v1: float) -> None:
        """Large flat roofs around paved yards, a parking lot."""
        draw = self.draw
        self.patch(self.scene.paved, block, draw.tint(palette.YARD), 0.06)
        u = u0 + 6
        while u + 34 < u1 - 30:
            length, width = min(draw.between(30, 58), u1 - 30 - u), (v1 - v0) * draw.between(0.5, 0.8)
            hall = self.rect(u + length / 2, (v0 + v1) / 2, length, width)
            self.building([hall], 'flat', draw.between(12, 18))
            u += length + draw.between(8, 16)
        self._parking(u1 - 26, u1 - 4, v0 + 4, v1 - 4)

    def _parking(self, u0: float, u1: float, v0: float, v1: float) -> None:
        """A lot with two rows of stalls, some taken; some lots are repaved between the dates."""
        draw, paved = self.draw, self.scene.paved
        lot = self.rect((u0 + u1) / 2, (v0 + v1) / 2, u1 - u0, v1 - v0)
        later = draw.tint(palette.FRESH_ASPHALT) if draw.chance(0.3) else None
        self.patch(paved, lot, draw.tint(draw.pick(palette.ASPHALTS)), 0.03, later=later, kind='resurfacing')
        for u, v in itertools.product((u0 + 5, u1 - 5), np.arange(v0 + 2, v1 - 4, 5.4)):
            self.patch(paved, self.rect(u, v, 9, 0.6), palette.MARK, 0.02)
            if draw.chance(0.4):
                self.vehicle(self.rect(u, v + 2.7, 8.5, 4))

    def _fields(self, block: Rect, u0: float, u1: float, v0: float, v1: float) -> None:  # noqa: ARG002
        """Strips of crops, some sown, ripe or harvested at date 2; a barn, a hedge."""
        draw, u = self.draw, u0
        while u + 20 < u1:
            strip = min(draw.between(34, 80), u1 - u)
            rect = self.rect(u + strip / 2, (v0 + v1) / 2, strip, v1 - v0)
            if draw.chance(0.5):
                rect = rect._replace(length=rect.width, width=rect.length, angle=rect.angle + math.pi / 2)
            crop = draw.tint(draw.pick(palette.CROPS))
            later = draw.tint(draw.pick(palette.CROPS)) if draw.chance(0.6) else None
            self.patch(self.scene.land, rect, crop, 0.06, draw.between(2.6, 4.5), later, 'seasonal')
            u += strip
        barn = self.rect(draw.between(u0 + 20, u1 - 20), v0 + 14, draw.between(22, 34), draw.between(13, 18))
        self.building([barn], 'gable', 10)
        self.trees((u0, u1), (v0, v0 + 4), 8, (3.5, 6))

    def _wood(self, block: Rect, u0: float, u1: float, v0: float, v1: float) -> None:
        """Trees with a few houses among them."""
        draw = self.draw
        self._lawn(block)
        for _ in range(3):
            self._house(draw.between(u0 + 16, u1 - 16), draw.between(v0 + 12, v1 - 12), 24, 16)
        self.trees((u0, u1), (v0, v1), int((u1 - u0) * (v1 - v0) / 110), (4.5, 8))
