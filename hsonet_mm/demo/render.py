"""Turns the plan of a scene into two images.

Each date is painted, at twice the resolution, into three maps: colour of the surfaces, grain of their texture,
and height. Light does the rest: slopes of the height map face the sun or not, and a point lies in shadow where
the surface rises above the line from the point to the sun. So shadows fall on roofs and trees as well as on the
ground, and always agree with the sun. Then come clouds, haze, the sensor's blur and noise. All [choice].
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from hsonet_mm.demo.scenes import RGB, Building, Patch, Rect, ScenePlan, Sun, Tree
from hsonet_mm.demo.textures import billows, crown, fractal

__all__ = ['Rendered', 'cast_shadow', 'render']

SCALE = 2
SKY = np.array([0.30, 0.34, 0.42], np.float32)
"""Light in the shadow, RGB; the sun adds what is missing to 1."""
PITCH = 0.62
"""Rise over run of sloped roofs."""
HAZE = 12
"""Light that the air adds, 0-255."""
NOISE = 2.2
"""Standard deviation of the sensor's noise, 0-255."""
CROWN, SINGLE_CROWN, TURNED_CROWN = 1, 2, 3
"""Marks of pixels under tree crowns: any, a tree of one date only, a tree in other colours at date 2."""


@dataclass
class Rendered:
    """Two images and the maps that say what is seen in them; pairs are (date 1, date 2).

    Attributes:
        colours: The same without light, clouds, blur and noise, float, 0-255.
        crowns: 0, CROWN, SINGLE_CROWN or TURNED_CROWN per pixel.
        clouds: Opacity of clouds, 0-1.
        cloud_shadows: Strength of cloud shadows, 0-1.
    """

    images: list[np.ndarray]
    colours: list[np.ndarray]
    shadows: list[np.ndarray]
    crowns: list[np.ndarray]
    clouds: list[np.ndarray]
    cloud_shadows: list[np.ndarray]


def render(scene: ScenePlan, rng: np.random.Generator) -> Rendered:
    """Render both dates."""
    fine = SCALE * scene.size
    ground = _ground(scene, rng)
    texture = cv2.resize(fractal(rng, scene.size, 3, 0.8), (fine, fine)) * 0.7
    texture += rng.standard_normal((fine, fine), np.float32) * 0.9
    crowns = [crown(rng) for _ in range(6)]
    puffs = [billows(rng, cloud.radius) for cloud in scene.clouds]
    done = Rendered([], [], [], [], [], [])
    for date, sun in enumerate(scene.suns):
        canvas = _Canvas(scene.size, ground.copy())
        canvas.paint(scene, date, crowns)
        shadow = cast_shadow(canvas.height, sun, SCALE)
        tone = 1 + canvas.grain * texture
        sunny = tone * _shade(canvas.height, sun) * (1 - shadow)
        light = cv2.merge([sunny * (1 - sky) + tone * sky for sky in SKY])
        lit = _shrink(cv2.multiply(canvas.colour, light))
        cloud, cloud_shadow = _clouds(scene, date, puffs)
        lit *= 1 - 0.55 * cloud_shadow[..., None] * (1 - SKY)
        lit += (238 - lit) * cloud[..., None]
        done.images.append(_expose(lit, scene, date, rng))
        done.colours.append(_shrink(canvas.colour))
        done.shadows.append(_shrink(shadow) > 0.5)
        done.crowns.append(canvas.crowns[::SCALE, ::SCALE])
        done.clouds.append(cloud)
        done.cloud_shadows.append(cloud_shadow * (1 - cloud))
    return done


def cast_shadow(height: np.ndarray, sun: Sun, scale: int = 1) -> np.ndarray:
    """Mask of the points of a surface that the sun does not reach.

    The highest line of sight over every point, max over k of height(k steps towards the sun) - k * drop, is
    found in log2 steps: the maximum over 2n steps is that over n, and that over n shifted by n steps.

    Args:
        height: Heights of the surface, (H, W), in pixels of the final image.
        sun: Where the sun stands.
        scale: Cells of the map per pixel of the final image.

    Returns:
        (H, W), 1 in shadow, 0 in the sun, between them at the rim.
    """
    (x, y), drop = sun.away, 1 / sun.shadow_length / scale
    rows, columns = height.shape
    horizon, step = height, 1
    while step * drop < height.max():
        move = np.array([[1, 0, step * x], [0, 1, step * y]], np.float32)
        moved = cv2.warpAffine(horizon, move, (columns, rows), flags=cv2.INTER_LINEAR)
        horizon = np.maximum(horizon, moved - np.float32(step * drop))
        step *= 2
    return np.clip((horizon - height - 0.15) / 0.5, 0, 1)


def _shade(height: np.ndarray, sun: Sun) -> np.ndarray:
    """Light of the sun on the slopes of a surface, 1 on level ground."""
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=SCALE / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=SCALE / 8)
    np.clip(slope_x, -0.9, 0.9, out=slope_x)
    np.clip(slope_y, -0.9, 0.9, out=slope_y)
    (x, y), run = sun.away, sun.shadow_length
    facing = (1 + run * (slope_x * x + slope_y * y)) / np.sqrt(1 + slope_x**2 + slope_y**2)
    return np.clip(facing, 0, 1.45)


class _Canvas:
    """The three maps of one date in the making, and which pixels crowns cover."""

    def __init__(self, size: int, ground: np.ndarray) -> None:
        self.size, self.colour = size, ground
        fine = SCALE * size
        self.grain = np.full((fine, fine), 0.07, np.float32)
        self.height = np.zeros((fine, fine), np.float32)
        self.crowns = np.zeros((fine, fine), np.uint8)

    def paint(self, scene: ScenePlan, date: int, crowns: list[np.ndarray]) -> None:
        """Paint everything that is there at a date."""
        for patch in scene.land:
            self.patch(patch, date)
        for building in scene.buildings:
            if building.site and not building.present[date]:
                self.patch(building.site, date)
        for patch in scene.paved:
            self.patch(patch, date)
        for vehicle in scene.vehicles:
            if vehicle.present[date]:
                self.fill(vehicle.rect, vehicle.colour, 0.02, 2.6)
                glass = vehicle.rect.part(vehicle.rect.length * 0.18, 0, 1.3, vehicle.rect.width * 0.8)
                self.fill(glass, (52, 58, 66), 0.0, 2.6)
        for building in scene.buildings:
            if building.present[date]:
                for part in building.parts:
                    self.roof(building, part, building.colours[date])
        for tree in scene.trees:
            if tree.present[date]:
                self.tree(tree, tree.colours[date], crowns[tree.shape])

    def fill(self, rect: Rect, colour: RGB, grain: float, height: float | None = None) -> None:
        """Fill a rectangle."""
        cells = [[round((edge * SCALE - 0.5) * 16) for edge in corner] for corner in rect.corners()]
        corners = np.array(cells, np.int32)
        cv2.fillConvexPoly(self.colour, corners, colour, shift=4)
        cv2.fillConvexPoly(self.grain, corners, grain, shift=4)
        if height is not None:
            cv2.fillConvexPoly(self.height, corners, height, shift=4)

    def patch(self, patch: Patch, date: int) -> None:
        """Paint ground, with crop rows if it has any."""
        colour = patch.colours[date]
        self.fill(patch.rect, colour, patch.grain)
        if patch.rows:
            window = patch.rect.window(self.size, SCALE)
            _, v = patch.rect.local(window, SCALE)
            rows = 1 + 0.1 * np.sin(v * (2 * math.pi / patch.rows))
            inside = patch.rect.inside(window, SCALE)[..., None]
            np.multiply(self.colour[window], rows[..., None], out=self.colour[window], where=inside)

    def roof(self, building: Building, part: Rect, colour: RGB) -> None:
        """Put up one part of a building: colour and heights of its roof."""
        if building.roof == 'flat':
            red, green, blue = colour
            self.fill(part, (red * 1.08, green * 1.08, blue * 1.08), 0.02, building.height + 1)
            self.fill(part.grown(-1), (red * 0.94, green * 0.94, blue * 0.94), 0.035, building.height)
            if part.length * part.width > 350:
                for u in np.arange(-0.35, 0.4, 18 / part.length) * part.length:
                    unit = part.part(float(u), 0.22 * part.width * math.cos(7 * u), 4, 3)
                    self.fill(unit, (196, 198, 200), 0.02, building.height + 2.5)
            return
        window = part.window(self.size, SCALE)
        u, v = part.local(window, SCALE)
        inside = (np.abs(u) <= part.length / 2) & (np.abs(v) <= part.width / 2)
        rise = part.width / 2 - np.abs(v)
        if building.roof == 'hip':
            rise = np.minimum(rise, part.length / 2 - np.abs(u))
        height = building.height + PITCH * rise
        on_top = inside & (height > self.height[window])
        np.copyto(self.height[window], height, where=on_top)
        np.copyto(self.grain[window], np.float32(0.045), where=on_top)
        np.copyto(self.colour[window], _vector(colour), where=on_top[..., None])

    def tree(self, tree: Tree, colour: RGB, form: np.ndarray) -> None:
        """Plant a crown; it is as high as wide, over whatever stands below it."""
        side = max(3, round(2 * tree.radius * SCALE))
        left, top = round(tree.x * SCALE - side / 2), round(tree.y * SCALE - side / 2)
        end = len(self.height)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, end), min(top + side, end)
        if x0 >= x1 or y0 >= y1:
            return
        window = slice(y0, y1), slice(x0, x1)
        dome = cv2.resize(form, (side, side), interpolation=cv2.INTER_AREA)
        dome = dome[y0 - top : y1 - top, x0 - left : x1 - left]
        inside = dome > 0.12
        height = np.maximum(self.height[window], 0.8 * tree.radius) + tree.radius * dome
        np.copyto(self.height[window], height, where=inside)
        np.copyto(self.grain[window], np.float32(0.13), where=inside)
        tones = _vector(colour) * (0.75 + 0.4 * dome[..., None])
        np.copyto(self.colour[window], tones, where=inside[..., None])
        turned = TURNED_CROWN if tree.colours[0] != tree.colours[1] else CROWN
        mark = turned if all(tree.present) else SINGLE_CROWN
        np.copyto(self.crowns[window], np.uint8(mark), where=inside)


def _ground(scene: ScenePlan, rng: np.random.Generator) -> np.ndarray:
    """Grass with bare places, the bottom layer of both dates."""
    size, fine = scene.size, SCALE * scene.size
    grass, soil = map(_vector, scene.grass)
    bare = np.clip(0.15 + 0.45 * (fractal(rng, size, 4) - 0.6), 0, 0.9)[..., None]
    tone = (1 + 0.08 * fractal(rng, size, 6, 0.75))[..., None]
    return cv2.resize((grass * (1 - bare) + soil * bare) * tone, (fine, fine))


def _clouds(scene: ScenePlan, date: int, puffs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Opacity of the clouds of a date and strength of their shadows."""
    size = scene.size
    cloud, shadow = np.zeros((2, size, size), np.float32)
    x, y = scene.suns[date].away
    for plan, puff in zip(scene.clouds, puffs, strict=True):
        if plan.date == date:
            for target, far in ((cloud, 0.0), (shadow, plan.drop)):
                half = len(puff) / 2
                move = np.array([[1, 0, plan.x + far * x - half], [0, 1, plan.y + far * y - half]])
                moved = cv2.warpAffine(puff, move, (size, size), flags=cv2.INTER_LINEAR)
                np.maximum(target, moved, out=target)
    return cloud, shadow


def _expose(lit: np.ndarray, scene: ScenePlan, date: int, rng: np.random.Generator) -> np.ndarray:
    """The 8-bit image: shift of the second image, blur, colour of the light, noise."""
    if date == 1 and any(scene.shift):
        move = np.array([[1, 0, scene.shift[0]], [0, 1, scene.shift[1]]])
        lit = cv2.warpAffine(
            lit, move, lit.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
    lit = (HAZE + (1 - HAZE / 160) * cv2.GaussianBlur(lit, (3, 3), 0.55)) * _vector(scene.light[date])
    lit += rng.standard_normal(lit.shape, np.float32) * NOISE
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


def _vector(colour: RGB) -> np.ndarray:
    return np.array(colour, np.float32)


def _shrink(fine: np.ndarray) -> np.ndarray:
    """Mean over the cells of each pixel of the final image."""
    rows, columns = fine.shape[:2]
    return cv2.resize(fine, (columns // SCALE, rows // SCALE), interpolation=cv2.INTER_AREA)
