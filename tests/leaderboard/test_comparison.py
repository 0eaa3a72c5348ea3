"""Comparisons with the reference: differences, intervals and verdicts against an oracle."""

import math

import numpy as np
import pytest
from scipy import stats

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import counts_of, draw

from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.bootstrap import OBJECT_AP, OBJECT_F1, ObjectScores, f1_of, paired_bootstrap
from hsonet_mm.leaderboard.comparison import VERDICTS, Comparison, Interval, compare, welch

sklearn = pytest.importorskip('sklearn.metrics')
pytestmark = pytest.mark.any_host


def test_identical_methods_do_not_differ_significantly():
    counts = counts_of(*(draw(np.random.default_rng(seed), 40, 0.8) for seed in range(2)))
    found = compare(counts, counts)
    assert (found.difference, found.over_images, found.share_above) == (0, (0, 0), 0)
    assert (found.images, found.seeds, found.verdict) == (40, (0, 1), 'not significant')


def test_same_images_leave_no_spread():
    better, worse = (counts_of(*2 * [9 * [[tp, 10, 100 - tp]]]) for tp in (90, 80))
    gap = 180 / (180 + 20) - 160 / (160 + 30)
    found = compare(better, worse)
    assert [found.difference, *found.over_images] == pytest.approx([gap] * 3, abs=1e-15)
    assert found.over_seeds is None  # seeds that do not differ say nothing about others
    assert wording.interval(found, 'seeds') == 'seeds do not differ'
    assert (found.share_above, found.verdict) == (1.0, 'better (significant over images, not over seeds)')
    assert compare(worse, better).verdict == 'worse (significant over images, not over seeds)'


def test_interval_equals_normal_approximation():
    rng = np.random.default_rng(1)
    method, reference = (draw(rng, 600, recall)[None] for recall in (0.8, 0.78))

    def influence(counts):
        top, bottom = 2 * counts[0, :, 0], counts[0] @ [2, 1, 1]
        return (top - top.sum() / bottom.sum() * bottom) / bottom.mean()

    deltas = influence(method) - influence(reference)
    error = deltas.std(ddof=1) / math.sqrt(600)
    found = compare(counts_of(*method), counts_of(*reference))
    gap = float(f1_of(method.sum(1))[0] - f1_of(reference.sum(1))[0])
    assert found.difference == pytest.approx(gap)
    assert found.over_images.low == pytest.approx(gap - 1.96 * error, abs=0.1 * error)
    assert found.over_images.high == pytest.approx(gap + 1.96 * error, abs=0.1 * error)


def test_comparison_is_deterministic_and_says_what_it_lacks():
    rng = np.random.default_rng(4)
    method, reference = draw(rng, 20, 0.8)[None], draw(rng, 20, 0.7)[None]
    assert compare(counts_of(*method), counts_of(*reference)) == compare(
        counts_of(*method), counts_of(*reference)
    )
    assert (paired_bootstrap(method, reference, seed=1) != paired_bootstrap(method, reference)).any()
    one = compare(counts_of(method[0, :1]), counts_of(reference[0, :1]))
    assert (one.images, one.over_images, one.over_seeds) == (1, None, None)
    assert math.isnan(one.share_above)
    assert one.verdict == 'not significant'
    assert wording.interval(one, 'images') == 'fewer than two images in common'
    assert wording.interval(one, 'seeds') == 'one seed'
    nothing = compare(counts_of(method[0, :0]), counts_of(reference[0, :0]))
    assert math.isnan(nothing.difference)
    empty = counts_of(np.zeros((3, 3)))
    assert compare(empty, empty).difference == 0  # F1 of 0 / 0 is 0


def draw_objects(rng, images, skill):
    """Objects of each image, those found scoring higher than false alarms."""
    for _ in range(images):
        labelled = int(rng.integers(1, 12))
        found = np.sort(rng.integers(30, 101, rng.binomial(labelled, skill)))
        yield ObjectScores(labelled, tuple(found), tuple(rng.integers(20, 80, rng.poisson(3 - 2 * skill))))


def pooled(images):
    """Average precision of images by scikit-learn, and F1."""
    found, alarms = (np.concatenate([one[index] for one in images]) for index in (1, 2))
    labelled = sum(one.labelled for one in images)
    right = np.repeat([1, 0], [len(found), len(alarms)])
    ap = sklearn.average_precision_score(right, np.concatenate([found, alarms])) * len(found) / labelled
    return ap, 2 * len(found) / (labelled + len(right))


def test_objects_are_compared_as_scikit_learn_and_scipy_would():
    rng = np.random.default_rng(5)
    method, reference = ([list(draw_objects(rng, 40, skill)) for _ in range(2)] for skill in (0.8, 0.7))
    counts = [
        {seed: dict(zip(map(str, range(40)), images, strict=True)) for seed, images in enumerate(seeds)}
        for seeds in (method, reference)
    ]
    for index, statistic in enumerate((OBJECT_AP, OBJECT_F1)):
        scores = [[pooled(images)[index] for images in seeds] for seeds in (method, reference)]
        found = compare(*counts, statistic=statistic)
        assert found.difference == pytest.approx(np.mean(scores[0]) - np.mean(scores[1]))
        oracle = stats.ttest_ind(*scores, equal_var=False).confidence_interval()
        assert found.over_seeds == pytest.approx((oracle.low, oracle.high))

        def difference(drawn, index=index):
            means = [
                np.mean([pooled([images[int(i)] for i in drawn])[index] for images in seeds])
                for seeds in (method, reference)
            ]
            return means[0] - means[1]

        resampled = [difference(rng.integers(0, 40, 40)) for _ in range(400)]
        low, high = np.quantile(resampled, [0.025, 0.975])
        assert found.over_images == pytest.approx((low, high), abs=0.15 * (high - low))


def test_only_seeds_that_both_have_are_compared():
    """The reference's seed 1 is a bad one: against both of its seeds, the method would look better."""
    rng = np.random.default_rng(5)
    good, bad = draw(rng, 40, 0.8), draw(rng, 40, 0.3)
    found = compare(counts_of(good), counts_of(good, bad))
    assert found.seeds == (0,)
    assert (found.difference, found.over_images, found.over_seeds) == (0, (0, 0), None)
    assert found.verdict == 'not significant'
    both = compare(counts_of(good, good), counts_of(good, bad))
    assert (both.seeds, both.over_images.side) == ((0, 1), 1)
    strangers = compare({1: counts_of(good)[0]}, {0: counts_of(good)[0]})
    assert (strangers.seeds, strangers.images, strangers.verdict) == ((), 0, 'not significant')
    assert math.isnan(strangers.difference)
    assert wording.interval(strangers, 'images') == 'no seed in common'
    named = {f'other {image}': counts for image, counts in counts_of(good)[0].items()}
    elsewhere = compare(counts_of(good), {0: named})
    assert (elsewhere.seeds, elsewhere.images) == ((0,), 0)
    assert {wording.interval(elsewhere, kind) for kind in ('images', 'seeds')} == {'no image in common'}


@pytest.mark.parametrize('seeds', [(2, 2), (3, 3), (2, 5)])
def test_welch_equals_its_formula(seeds):
    rng = np.random.default_rng(6)
    method, reference = (rng.normal(0.8, 0.01 * (one + 1), number) for one, number in enumerate(seeds))
    parts = [(np.var(one, ddof=1) / len(one), len(one) - 1) for one in (method, reference)]
    error = sum(part for part, _ in parts)
    freedom = error**2 / sum(part**2 / degrees for part, degrees in parts)
    reach = stats.t.ppf(0.975, freedom) * math.sqrt(error)
    gap = method.mean() - reference.mean()
    assert welch(method, reference) == pytest.approx((gap - reach, gap + reach))
    assert welch(method, method[:1].repeat(2)) is not None  # one of two without a spread


@pytest.mark.parametrize(
    ('over_images', 'over_seeds', 'verdict'),
    [
        ((0.01, 0.03), (0.005, 0.035), 'significantly better'),
        ((-0.03, -0.01), (-0.035, -0.005), 'significantly worse'),
        ((0.01, 0.03), (-0.005, 0.045), 'better (significant over images, not over seeds)'),
        ((0.01, 0.03), None, 'better (significant over images, not over seeds)'),
        ((-0.03, -0.01), None, 'worse (significant over images, not over seeds)'),
        ((0.01, 0.03), (-0.03, -0.01), 'better (significant over images, not over seeds)'),
        ((-0.01, 0.03), (0.005, 0.035), 'not significant'),
        (None, (0.005, 0.035), 'not significant'),
    ],
)
def test_verdict_needs_images_and_seeds(over_images, over_seeds, verdict):
    intervals = [None if one is None else Interval(*one) for one in (over_images, over_seeds)]
    found = Comparison(0.02, *intervals, 0.5, 30, (0, 1))
    assert found.verdict == verdict
    assert verdict in VERDICTS


@pytest.mark.parametrize('seeds', [2, 3, 5])
def test_equal_methods_with_noisy_seeds_are_rarely_called_better(seeds):
    """The images alone would decide most of these comparisons of a method with itself."""
    rng = np.random.default_rng(seeds)
    called = here = 0
    for _ in range(300):
        method, reference = (
            counts_of(*(draw(rng, 60, recall) for recall in rng.normal(0.7, 0.05, seeds))) for _ in range(2)
        )
        found = compare(method, reference, resamples=200)
        called += found.verdict.startswith('significantly')
        here += found.over_images.side != 0
    assert called / 300 <= 0.07
    assert here / 300 > 0.3


@pytest.mark.parametrize('seeds', [2, 3])
def test_a_clear_difference_is_called(seeds):
    rng = np.random.default_rng(7)
    method, reference = (
        counts_of(*(draw(rng, 60, one) for one in rng.normal(recall, 0.002, seeds))) for recall in (0.9, 0.6)
    )
    assert compare(method, reference).verdict == 'significantly better'
    assert compare(reference, method).verdict == 'significantly worse'
