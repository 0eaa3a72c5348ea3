"""Windows: they cover an image of any size once, blend without seams, and are one rule for images and scenes."""

from itertools import pairwise

import numpy as np
import pytest

from hsonet_mm.errors import UserError
from hsonet_mm.windows import Axis, Window, default_window, pad, slide, starts, with_overlap

pytestmark = pytest.mark.any_host

SHAPES = [
    (128, 0),
    (128, 32),
    (128, 64),
    (256, 64),
    (64, 32),
    (64, 16),
    (50, 17),
    (48, 12),
    (64, 48),
    (33, 30),
]


@pytest.mark.parametrize('length', [1, 31, 64, 128, 129, 200, 300, 511, 1000, 1001])
@pytest.mark.parametrize(('size', 'overlap'), SHAPES)
@pytest.mark.parametrize('fixed', [False, True])
def test_cells_cover_the_axis_once_and_weights_sum_to_one(length, size, overlap, fixed):
    axis = Axis.make(length, size, overlap, fixed)
    align = 32 if size % 32 == overlap % 32 == 0 else 1
    assert all(start % align == 0 for start in axis.starts)
    assert axis.size == size if fixed else axis.size <= size
    assert all(0 < b - a <= size - overlap for a, b in pairwise(axis.starts))
    assert axis.starts[-1] + axis.size >= length
    seen, weight = np.zeros(length, int), np.zeros(length)
    ramp = axis.weights()
    used = min(overlap, size - overlap) // 4  # of the edge
    for index, start in enumerate(axis.starts):
        first, last = axis.cell(index)
        assert start <= first < last <= min(length, start + axis.size)
        seen[first:last] += 1
        own = np.ones(last - first)
        if index:
            assert last - first >= axis.ramp
            own[: axis.ramp] = ramp
        weight[first:last] += own
        if index < len(axis) - 1:
            weight[last : last + axis.ramp] += 1 - ramp
            assert last + axis.ramp <= start + axis.size - used
            assert last >= axis.starts[index + 1] + used
    assert (seen == 1).all()
    np.testing.assert_allclose(weight, 1, atol=1e-6)


def test_starts():
    assert starts(100, 40, 30) == (0, 30, 60)
    assert starts(101, 40, 30) == (0, 30, 60, 61)
    assert starts(30, 40, 30) == (0,)
    assert starts(300, 128, 64, align=32) == (0, 64, 128, 192)  # the last one ends 20 pixels beyond


def test_what_is_beyond_the_end_is_reflected():
    line = pad(np.arange(4).reshape(1, 4), Window(9, 0, fixed=True).grid(1, 4))
    assert line.tolist() == [[0, 1, 2, 3, 2, 1, 0, 1, 2]] * 9
    block = np.arange(6).reshape(2, 3)
    padded = pad(block, Window(4, 0, fixed=True).grid(2, 3))
    assert padded.tolist() == [[0, 1, 2, 1], [3, 4, 5, 4], [0, 1, 2, 1], [3, 4, 5, 4]]


@pytest.mark.parametrize(('size', 'overlap'), [(0, 0), (-5, None), (64, 64), (64, -1), (64, 80)])
def test_windows_that_cannot_move(size, overlap):
    with pytest.raises(UserError, match=r'^invalid windows .*: expected a step'):
        with_overlap(size, overlap)


@pytest.mark.parametrize(
    ('tile_size', 'crop_size', 'window'),
    [
        (None, None, Window(512, 128)),
        (None, 256, Window(256, 64)),
        (None, 192, Window(192, 64)),
        (None, 128, Window(128, 32)),
        (None, 200, Window(224, 64)),  # up to a multiple of 32, the stride of the networks
        (48, 256, Window(48, 12, fixed=True)),
        (512, None, Window(512, 128, fixed=True)),
        (16, None, Window(16, 4, fixed=True)),
    ],
)
def test_the_default_is_the_only_size_or_that_of_the_crops(tile_size, crop_size, window):
    assert default_window(tile_size, crop_size) == window


@pytest.mark.parametrize(
    ('size', 'overlap', 'times'), [(1, None, '1,024'), (8, None, '28'), (64, 60, '256'), (512, 385, '16')]
)
def test_windows_that_compute_every_pixel_too_often_are_refused(size, overlap, times):
    """(max(size, 32) / step)^2 times, for networks pad what is smaller than 32 pixels; by default 16 / 9."""
    with pytest.raises(UserError, match=f'every pixel {times} times: expected at most 16 times'):
        with_overlap(size, overlap)


@pytest.mark.parametrize(('size', 'overlap'), [(32, 24), (512, 384), (16, 8), (16, None)])
def test_windows_at_the_limit_are_taken(size, overlap):
    assert with_overlap(size, overlap).size == size


def per_pixel(t1, t2):
    return np.abs(t1[..., 0].astype(np.float32) - t2[..., 0]) / 255


@pytest.mark.parametrize('shape', [(1, 1), (5, 3), (64, 64), (100, 300), (257, 131)])
@pytest.mark.parametrize(
    'window', [Window(64, 16), Window(64, 32), Window(50, 30), Window(96, 24, fixed=True)]
)
def test_a_model_that_sees_pixels_only_is_the_same_in_windows(shape, window):
    rng = np.random.default_rng(0)
    t1, t2 = rng.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    sizes = set()

    def probs(a, b):
        sizes.add(a.shape[1:3])
        assert len(a) <= 3
        return per_pixel(a, b)

    np.testing.assert_allclose(slide(probs, t1, t2, window, batch=3), per_pixel(t1, t2), atol=1e-6)
    assert len(sizes) == 1
    if window.fixed:
        assert sizes == {(96, 96)}


def test_seams_are_ramps():
    """Windows that disagree, each a level of its own, pass into one another along half of the overlap."""
    levels = iter(np.linspace(0, 1, 5))
    image = np.zeros((64, 256, 3), np.uint8)

    def probs(t1, _):
        return np.stack([np.full(t1.shape[1:3], next(levels), np.float32) for _ in t1])

    values = slide(probs, image, image, Window(64, 16))[0]  # 5 windows, 48 apart, that share 16
    assert (values[:52] == 0).all()  # the quarter at the edge of the next window is not used
    assert (values[60:100] == 0.25).all()
    assert 0 < values[52] < values[55] < values[59] < 0.25
    assert (np.diff(values) >= 0).all()
    np.testing.assert_allclose(values[55] + values[56], 0.25, atol=1e-6)  # the middle of the ramp
