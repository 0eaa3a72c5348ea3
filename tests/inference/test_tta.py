"""Test-time augmentation: the mean over views, each turned back."""

import numpy as np
import pytest

from hsonet_mm.inference.tta import augmented_probs

pytestmark = pytest.mark.any_host


class TestAugmentation:
    @pytest.mark.parametrize(
        ('kinds', 'views'),
        [
            ((), 1),
            (('flips',), 4),
            (('rotations',), 4),
            (('swap',), 2),
            (('flips', 'rotations'), 8),
            (('flips', 'rotations', 'swap'), 16),
        ],
    )
    def test_mean_over_views_in_place(self, kinds, views):
        """A detector that is the pixel itself is unmoved; one that favours a corner sees it in each view."""
        rng = np.random.default_rng(0)
        t1, t2 = rng.integers(0, 255, (2, 2, 32, 64, 3), dtype=np.uint8)
        seen = []

        def probs(a, b):
            seen.append((a.copy(), b.copy()))
            return np.abs(a.astype(np.float32) - b)[..., 0] / 255

        np.testing.assert_allclose(augmented_probs(probs, t1, t2, kinds), probs(t1, t2), atol=1e-6)
        assert len({(a.shape, a.tobytes(), b.tobytes()) for a, b in seen}) == views

    def test_views_are_averaged(self):
        """A detector that sees something in the first pixel of whatever it gets spreads it over the corners."""
        images = np.zeros((1, 32, 64, 3), np.uint8)

        def first_pixel(a, _):
            result = np.zeros(a.shape[:3], np.float32)
            result[:, 0, 0] = 1
            return result

        result = augmented_probs(first_pixel, images, images, ('flips', 'rotations'))
        assert result.sum() == 1
        assert (result[0, [0, 0, -1, -1], [0, -1, 0, -1]] == 0.25).all()
        result = augmented_probs(first_pixel, images, images, ('swap',))
        assert result[0, 0, 0] == 1
