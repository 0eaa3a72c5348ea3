"""What happens in a demo scene between its two dates: changes to find, and differences that only look like changes."""

import math

import numpy as np

from hsonet_mm.demo import palette
from hsonet_mm.demo.draw import Draw
from hsonet_mm.demo.layout import Layout
from hsonet_mm.demo.scenes import Building, Cloud, Patch, ScenePlan

__all__ = ['plan_scene']

CHANGED_SHARE = (0.05, 0.12)
"""Range of the share of changed pixels that a plan aims at."""
MOST_CHANGED = 0.45
"""Buildings that change, as a share of all: those that stay are the majority."""


def plan_scene(size: int, rng: np.random.Generator) -> ScenePlan:
    """Draw a scene with all that happens in it."""
    layout = Layout(size, Draw(rng))
    _change_buildings(layout)
    staying = [building for building in layout.scene.buildings if not building.changed]
    _repaint_roofs(staying, layout.draw)
    for building in layout.draw.shuffled(staying)[: layout.draw.pick([0, 0, 1, 2])]:
        _cover(layout, building, layout.draw.pick([(False, True), (False, True), (True, False)]))
    _photograph(layout.scene, layout.draw)
    return layout.scene


def _change_buildings(layout: Layout) -> None:
    """Let buildings appear and vanish until the aimed share of pixels has changed."""
    draw, buildings = layout.draw, layout.scene.buildings
    room = draw.between(*CHANGED_SHARE) * layout.size**2 + 200
    left = int(MOST_CHANGED * len(buildings))
    for building in draw.shuffled(buildings):
        area = int(building.footprint(layout.size)[1].sum())
        if left and area < room:
            left, room = left - 1, room - area
            _change(layout, building)


def _change(layout: Layout, building: Building) -> None:
    """Take a building away at one date, leave soil or whatever is around; make some hard to find."""
    draw = layout.draw
    building.present = draw.pick([(False, True), (False, True), (True, False)])
    camouflaged = draw.chance(0.12)
    if camouflaged or draw.chance(0.55):
        soil = draw.tint(draw.pick(palette.SOILS))
        main = building.parts[0]
        spot = main.part(draw.between(-2, 2), draw.between(-2, 2), main.length, main.width)
        turned = spot._replace(angle=spot.angle + draw.between(-0.15, 0.15))
        building.site = Patch(turned.grown(draw.between(0, 5)), (soil, soil), 0.1)
        if camouflaged:
            building.colours = (draw.tint(soil, 0.03),) * 2
    if draw.chance(0.22):
        _cover(layout, building, (True, True))


def _cover(layout: Layout, building: Building, present: tuple[bool, bool]) -> None:
    """Let crowns reach over the edges of a roof, unless it is too large."""
    draw, main = layout.draw, building.parts[0]
    area = main.length * main.width
    for _ in range(math.ceil(area / 200) if area < 900 else 0):
        spot = main.part(draw.between(-0.45, 0.45) * main.length, draw.pick([-0.4, 0.4]) * main.width, 1, 1)
        layout.tree(spot.x, spot.y, draw.between(5, 7.5), present)


def _repaint_roofs(staying: list[Building], draw: Draw) -> None:
    """Give some roofs the colour that is farthest from theirs."""
    for building in draw.shuffled(staying)[: draw.pick([0, 1, 2])]:
        before = building.colours[0]
        roofs = palette.FLAT_ROOFS if building.roof == 'flat' else palette.ROOFS
        after = max(roofs, key=lambda colour: math.dist(colour, before))
        building.colours = (before, draw.tint(after))


def _photograph(scene: ScenePlan, draw: Draw) -> None:
    """Draw the conditions of the two flights: clouds, light, how well the images fit."""
    if draw.chance(0.3):
        date = draw.pick([0, 1])
        for _ in range(draw.pick([1, 1, 2])):
            x, y = draw.between(0, scene.size), draw.between(0, scene.size)
            scene.clouds.append(Cloud(x, y, draw.between(16, 34), date, draw.between(50, 90)))
    if draw.chance(0.2):
        turn, far = draw.between(0, 2 * math.pi), draw.between(1, 2)
        scene.shift = (far * math.cos(turn), far * math.sin(turn))
    light = draw.rng.normal(1, 0.03, (2, 3))
    scene.illumination = draw.chance(0.25)
    if scene.illumination:
        strong = draw.pick([draw.between(0.62, 0.78), draw.between(1.2, 1.35)])
        light[draw.pick([0, 1])] *= strong * (1 + draw.rng.normal(0, 0.05, 3))
    before, after = light.tolist()
    scene.light = tuple(before), tuple(after)
