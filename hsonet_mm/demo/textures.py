"""Random textures of the demo scenes: noise of all scales, crowns of trees, clouds."""

import math

import cv2
import numpy as np

__all__ = ['billows', 'crown', 'fractal']


def fractal(rng: np.random.Generator, size: int, start: int, falloff: float = 0.6) -> np.ndarray:
    """Noise of all scales with mean 0 and deviation 1, (size, size), from ``start`` cells upwards."""
    noise = np.zeros((size, size), np.float32)
    cells, weight = start, 1.0
    while cells < size:
        grid = rng.standard_normal((cells + 3, cells + 3), np.float32)
        noise += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        cells, weight = 2 * cells, weight * falloff
    return (noise - noise.mean()) / noise.std()


def crown(rng: np.random.Generator) -> np.ndarray:
    """One form of crown: a lobed dome with height 1 in the middle and 0 outside."""
    side = 48
    y, x = (np.mgrid[:side, :side].astype(np.float32) + 0.5) / side * 2 - 1
    turn = np.arctan2(y, x)
    wobble = np.ones_like(turn)
    for lobes in (2, 3, 5):
        wobble = wobble + 0.07 * np.sin(lobes * turn + np.float32(rng.uniform(0, 2 * math.pi)))
    dome = np.sqrt(np.clip(1 - (x**2 + y**2) / (0.9 * wobble / wobble.max()) ** 2, 0, None))
    return dome * np.clip(0.85 + 0.14 * fractal(rng, side, 5, 0.8), 0.4, 1.2)


def billows(rng: np.random.Generator, radius: float) -> np.ndarray:
    """Opacity of one cloud in the middle of a square map: a few overlapping billows with frayed edges."""
    side = 4 * math.ceil(radius)
    y, x = (np.mgrid[:side, :side].astype(np.float32) + 0.5) / radius - side / radius / 2
    dome = np.zeros((side, side), np.float32)
    for _ in range(5):
        across, down, width = rng.uniform(-0.7, 0.7), rng.uniform(-0.45, 0.45), rng.uniform(0.35, 0.65)
        np.maximum(dome, np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * width**2)), out=dome)
    return np.clip(1.7 * dome - 0.75 + 0.22 * fractal(rng, side, 5, 0.7) * np.sqrt(dome), 0, 0.85)
