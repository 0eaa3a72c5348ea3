"""The paired bootstrap: its intervals against SciPy and the truth."""

import numpy as np
import pytest
from scipy import stats

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import draw

from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.leaderboard.bootstrap import common_images, f1_of, paired_bootstrap
from hsonet_mm.leaderboard.comparison import Interval

pytestmark = pytest.mark.any_host


def ends(gaps):
    return Interval(*np.quantile(gaps, [0.025, 0.975]))


def test_pairs_are_resampled_together():
    """Images of very different difficulty, one method always a little better: unpaired, that would drown."""
    fn = np.linspace(5, 95, 30).astype(int)
    reference = np.stack([100 - fn, fn * 0, fn], 1)[None]
    method = reference + np.array([1, 0, -1])
    found = ends(paired_bootstrap(method, reference))
    assert 0 < found.low < found.high < found.low + 0.01


def test_interval_equals_scipy_with_unequal_seeds():
    rng = np.random.default_rng(2)
    method = np.stack([draw(rng, 60, 0.8) for _ in range(2)])
    reference = np.stack([draw(rng, 60, 0.78) for _ in range(3)])

    def statistic(index):
        return float(f1_of(method[:, index].sum(1)).mean() - f1_of(reference[:, index].sum(1)).mean())

    oracle = stats.bootstrap(
        (np.arange(60),), statistic, n_resamples=4000, vectorized=False, method='percentile', rng=rng
    )  # fmt: skip
    found = ends(paired_bootstrap(method, reference))
    width = found.high - found.low
    assert found.low == pytest.approx(oracle.confidence_interval.low, abs=0.06 * width)
    assert found.high == pytest.approx(oracle.confidence_interval.high, abs=0.06 * width)


def test_interval_covers_the_truth():
    rng = np.random.default_rng(3)
    crowd = [draw(rng, 20_000, recall) for recall in (0.8, 0.79)]
    truth = float(np.subtract(*(f1_of(counts.sum(0)) for counts in crowd)))
    inside = 0
    for _ in range(200):
        drawn = rng.integers(0, 20_000, 80)
        found = ends(paired_bootstrap(*(counts[None, drawn] for counts in crowd), resamples=400))
        inside += found.low <= truth <= found.high
    assert 0.89 <= inside / 200 <= 0.99


def test_only_images_that_all_seeds_share_count():
    def named(**images):
        return {name: Confusion(*counts, 7) for name, counts in images.items()}

    method = {1: named(b=(2, 0, 0), a=(1, 0, 0)), 0: named(a=(3, 0, 0), b=(4, 0, 0), c=(9, 9, 9))}
    reference = {5: named(b=(6, 0, 0), a=(5, 0, 0), d=(9, 9, 9))}
    ours, theirs, names = common_images(method, reference)
    assert names == ('a', 'b')
    assert ours[..., 0].tolist() == [[3, 4], [1, 2]]
    assert theirs[..., 0].tolist() == [[5, 6]]
    assert common_images({}, {})[0].shape[:2] == (0, 0)
