"""The images of the demo scenes: shadows that follow the sun, roofs, trees, and shifts."""

import math

import cv2
import numpy as np
import pytest

from hsonet_mm.demo.render import cast_shadow, render
from hsonet_mm.demo.scenes import Building, Rect, ScenePlan, Sun, Tree

pytestmark = pytest.mark.any_host


@pytest.mark.parametrize('azimuth', [0, 90, 135, 200, 300])
@pytest.mark.parametrize(('elevation', 'scale'), [(35, 1), (55, 1), (40, 2)])
def test_shadow_points_away_from_the_sun_and_has_the_right_length(azimuth, elevation, scale):
    sun, side = Sun(azimuth, elevation), 121 * scale
    tower = np.zeros((side, side), np.float32)
    tower[57 * scale : 64 * scale, 57 * scale : 64 * scale] = 12  # 7 x 7 pixels, 12 high
    rows, columns = np.nonzero(cast_shadow(tower, sun, scale) > 0.5)
    x, y = (columns + 0.5) / scale - 60.5, (rows + 0.5) / scale - 60.5
    east, north = math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))  # where the sun is
    along, across = y * north - x * east, x * north + y * east
    reach = 3 * (abs(east) + abs(north))  # of the centres of the tower's cells, along and across
    assert along.max() == pytest.approx(reach + 12 / math.tan(math.radians(elevation)), abs=2)
    assert along.min() > -reach
    assert np.abs(across).max() == pytest.approx(reach, abs=1.5)
    assert np.diff(np.sort(along)).max() < 1.5  # no gaps


def test_shadow_is_that_of_every_step_tried_one_by_one():
    rng = np.random.default_rng(0)
    surface = np.repeat(np.repeat(rng.uniform(0, 10, (8, 8)), 8, 0), 8, 1).astype(np.float32)
    sun = Sun(270, 40)  # light from the left, so that shifts are whole cells
    drop, expected = math.tan(math.radians(40)), np.zeros((64, 64), bool)
    for step in range(1, 64):
        expected[:, step:] |= surface[:, :-step] - step * drop > surface[:, step:] + 0.15 + 0.25
    np.testing.assert_array_equal(cast_shadow(surface, sun) > 0.5, expected)


def test_level_ground_has_no_shadow():
    assert not cast_shadow(np.full((32, 32), 7, np.float32), Sun(180, 40)).any()


@pytest.mark.parametrize('roof', ['flat', 'gable', 'hip'])
def test_the_sunny_side_of_a_roof_is_brighter_and_its_shadow_darkens_the_ground(roof):
    grey = (130.0, 130.0, 130.0)
    house = Building((Rect(48, 48, 40, 24, 0.0),), roof, 12, (grey, grey))
    suns = Sun(180, 45), Sun(0, 45)  # from below, from above in the image
    scene = ScenePlan(96, suns, (grey, grey), buildings=[house])
    done = render(scene, np.random.default_rng(0))
    for image, sunny, shady, ground in (
        (done.images[0], slice(50, 58), slice(38, 46), slice(27, 34)),
        (done.images[1], slice(38, 46), slice(50, 58), slice(62, 69)),
    ):
        bright, dark = (image[rows, 34:62].mean() for rows in (sunny, shady))
        assert bright > dark + 15 if roof != 'flat' else abs(bright - dark) < 8
        open_ground = image[:, :20].mean()
        assert image[ground, 34:62].mean() < 0.7 * open_ground
    assert done.shadows[0][30, 48]
    assert not done.shadows[0][66, 48]
    assert done.shadows[1][66, 48]


def test_the_second_image_is_shifted_as_said():
    grey = (120.0, 120.0, 120.0)
    scene = ScenePlan(64, (Sun(180, 45), Sun(180, 45)), ((90, 120, 80), grey), shift=(2.0, 0.0))
    first, second = render(scene, np.random.default_rng(1)).images
    first, second = (cv2.GaussianBlur(image.astype(np.float32), (5, 5), 1) for image in (first, second))
    error = {dx: np.abs(second[:, 8:-8] - np.roll(first, dx, 1)[:, 8:-8]).mean() for dx in range(-3, 4)}
    assert min(error, key=error.get) == 2


def test_a_tree_outside_the_image_changes_nothing():
    grey = (120.0, 120.0, 120.0)
    images = []
    for trees in ([], [Tree(-9, 30, 6, (grey, grey), 0), Tree(80, 30, 6, (grey, grey), 1)]):
        scene = ScenePlan(64, (Sun(180, 45), Sun(90, 45)), (grey, grey), trees=trees)
        images.append(render(scene, np.random.default_rng(1)).images)
    np.testing.assert_array_equal(*images)


def test_images_look_like_photographs_in_numbers(pairs):
    for pair in pairs:
        for image in pair.images:
            assert image.std() > 15
            assert 40 < image.mean() < 190
            assert np.mean((image == 0) | (image == 255)) < 0.15
