"""The hard case of every object of a rendered demo scene.

The kind of a changed building is measured in what was rendered (how many pixels, how much of it is covered or
in the shadow, how much its roof differs from the ground), not taken from the plan. See
:data:`~hsonet_mm.evaluation.hard_cases.HARD_CASES` for the kinds; the limits below are our own choice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from hsonet_mm.demo.render import SINGLE_CROWN, TURNED_CROWN, Rendered
from hsonet_mm.demo.scenes import ScenePlan, Window
from hsonet_mm.evaluation.hard_cases import HARD_CASES, SMALL

__all__ = ['TypedObject', 'type_objects']

COVERED = 0.2
"""Share of a changed building under crowns or cloud from which on it is ``occluded``."""
SHADED = 0.25
"""Share of a changed building in the shadow from which on it is ``shadowed``."""
CONTRAST = 26
"""Mean difference (of the largest channel, 0-255) of roof and ground below which it is ``low_contrast``."""
OPAQUE, DIM = 0.3, 0.3
"""Opacity of a cloud and strength of its shadow from which on a pixel belongs to them."""
VISIBLE = 8
"""Difference of colours (of the largest channel, 0-255) above which a surface looks different."""
SMALLEST = 12
"""Unchanged things with fewer pixels in the image than this are not objects."""


@dataclass(frozen=True)
class TypedObject:
    """One object of the instance map; right and bottom of its ``bbox`` are exclusive."""

    id: int
    kind: str
    changed: bool
    area: int
    bbox: tuple[int, int, int, int]


Region = tuple[Window, np.ndarray]
"""A part of the image and which pixels of it are meant."""


def type_objects(scene: ScenePlan, done: Rendered) -> tuple[np.ndarray, list[TypedObject]]:
    """Number the typed objects of a scene: the instance map, uint16, 0 where none is, and the objects in that order."""
    ids = np.zeros((scene.size, scene.size), np.uint16)
    objects: list[TypedObject] = []
    order = list(HARD_CASES)
    found = [*_buildings(scene, done), *_unchanged(scene, done)]
    for kind, (window, mask) in sorted(found, key=lambda item: order.index(item[0])):
        changed = HARD_CASES[kind].changed
        free = mask & (ids[window] == 0)
        area = int(np.count_nonzero(free))
        if area >= (1 if changed else SMALLEST):
            ids[window][free] = len(objects) + 1
            left, top, width, height = cv2.boundingRect(free.astype(np.uint8))
            left, top = left + window[1].start, top + window[0].start
            bbox = left, top, left + width, top + height
            objects.append(TypedObject(len(objects) + 1, kind, changed, area, bbox))
    return ids, objects


def _buildings(scene: ScenePlan, done: Rendered) -> Iterator[tuple[str, Region]]:
    """Every changed building; repainted and overgrown roofs; edges where the images do not fit."""
    differs = _differs(done)
    single = (done.crowns[0] == SINGLE_CROWN) | (done.crowns[1] == SINGLE_CROWN)
    standing = np.zeros((scene.size, scene.size), np.uint8)
    for building in scene.buildings:
        window, mask = building.footprint(scene.size)
        if building.changed:
            yield _kind_of_change(window, mask, building.present.index(True), done), (window, mask)
            continue
        standing[window] |= mask
        yield 'occluded_unchanged', (window, mask & single[window])
        if building.colours[0] != building.colours[1]:
            yield 'repainted_roof', (window, mask & differs[window])
    if any(scene.shift):
        edges = cv2.morphologyEx(standing, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        yield from _pieces('misregistration', edges > 0)


def _kind_of_change(window: Window, mask: np.ndarray, date: int, done: Rendered) -> str:
    """What makes a changed building hard at the date when it stands."""
    crown = done.crowns[date][window][mask] > 0
    if crown.size < SMALL:
        return 'small'
    if np.mean(crown | (done.clouds[date][window][mask] > OPAQUE)) >= COVERED:
        return 'occluded'
    if np.mean(done.shadows[date][window][mask] & ~crown) >= SHADED:
        return 'shadowed'
    before, after = (colour[window][mask][~crown] for colour in done.colours)
    return 'low_contrast' if np.abs(after - before).max(-1).mean() < CONTRAST else 'plain'


def _unchanged(scene: ScenePlan, done: Rendered) -> Iterator[tuple[str, Region]]:
    """Everything but buildings that differs between the images."""
    differs = _differs(done)
    things = [
        ('vehicle', vehicle.rect) for vehicle in scene.vehicles if vehicle.present[0] != vehicle.present[1]
    ]
    things += [(patch.kind, patch.rect) for patch in (*scene.land, *scene.paved) if patch.kind]
    for kind, rect in things:
        window = rect.window(scene.size)
        yield kind, (window, rect.inside(window) & differs[window])
    crowns = np.maximum(*done.crowns)
    moved = ((done.shadows[0] ^ done.shadows[1]) & (crowns == 0)).astype(np.uint8)
    yield from _pieces('seasonal', crowns == TURNED_CROWN)
    yield from _pieces('cloud', np.maximum(*done.clouds) > OPAQUE)
    yield from _pieces('cloud_shadow', np.maximum(*done.cloud_shadows) > DIM)
    yield from _pieces('moved_shadow', cv2.morphologyEx(moved, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0)
    if scene.illumination:
        yield 'illumination', ((slice(0, scene.size), slice(0, scene.size)), np.ones_like(differs))


def _differs(done: Rendered) -> np.ndarray:
    """Pixels whose surface has another colour at date 2, whatever the light."""
    red, green, blue = cv2.split(cv2.absdiff(*done.colours))
    return np.maximum(np.maximum(red, green), blue) > VISIBLE


def _pieces(kind: str, mask: np.ndarray) -> Iterator[tuple[str, Region]]:
    """The connected pieces of a mask, except specks."""
    number, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    for piece in range(1, number):
        left, top, width, height, area = (int(value) for value in stats[piece])
        if area >= SMALLEST:
            window = slice(top, top + height), slice(left, left + width)
            yield kind, (window, pieces[window] == piece)
