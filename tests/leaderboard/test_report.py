"""The report of a leaderboard: every figure against an oracle, on made-up predictions of a made-up data set."""

import base64
import csv
import gzip
import io
import json
import math
import re
import shutil
import statistics
import sys
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from scipy import stats

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.breakdown import breakdown, sum_groups
from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.evaluation.object_report import object_groups, object_metrics
from hsonet_mm.evaluation.objects import join, match_objects
from hsonet_mm.leaderboard import gallery as pictures
from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.board import Cell, read_records, rows_of
from hsonet_mm.leaderboard.bootstrap import (
    OBJECT_AP,
    OBJECT_F1,
    ObjectScores,
    common_images,
    f1_of,
    paired_bootstrap,
)
from hsonet_mm.leaderboard.breakdown_table import breakdown_tables
from hsonet_mm.leaderboard.comparison import VERDICTS, Comparison, Interval, compare, welch
from hsonet_mm.leaderboard.plots import cost_plot, styles
from hsonet_mm.leaderboard.published import FILE, read_published
from hsonet_mm.leaderboard.records import COLUMNS, Run, read
from hsonet_mm.leaderboard.report import write_report
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.leaderboard.summary import COSTS, FIGURES, Spread, Standing, summarise

sklearn = pytest.importorskip('sklearn.metrics')

pytestmark = pytest.mark.any_host

T1, T2 = '2026-01-01T10:00:00.000Z', '2026-01-02T10:00:00.000Z'
SKILLS = {'hsonet_lite': 1.0, 'ussfc_net': 0.75, 'tinycd': 0.5}
CONFIG = """
custom_imports = {'imports': ['hsonet_mm'], 'allow_failed_imports': False}
default_scope = 'opencd'
test_dataloader = {'dataset': {
    'type': 'hsonet_mm.ChangeDataset',
    'data_root': 'of the training',
    'data_prefix': {'img_path_from': 'test/A', 'img_path_to': 'test/B', 'seg_map_path': 'test/label'},
    'test_mode': True,
    'pipeline': [
        {'type': 'hsonet_mm.MultiImgLoadImageFromFile'},
        {'type': 'hsonet_mm.MultiImgLoadAnnotations'},
        {'type': 'MultiImgPackSegInputs'},
    ],
}}
"""


def matched_columns(objects):
    """Columns of ``images`` that hold the objects of one image."""
    found, alarms = objects.score[objects.labelled], objects.score[~objects.labelled]
    return {
        'objects': int(objects.labelled.sum()),
        'found': ' '.join(str(score) for score in found if score >= 0),
        'alarms': ' '.join(map(str, alarms)),
    }


class Fake:
    """A leaderboard without a training: probabilities are labels, blurred and noisy; the rest is counted.

    Args:
        out: Its folder.
        labels: Label of every test image by name, bool (H, W).
        blocks: Methods and their skills by block; the first method is the reference.
        objects: Match objects too, as older versions did not.
    """

    def __init__(self, out, labels, blocks, seeds=(0, 1, 2), data_set='demo', root='nowhere', dates=None,
                 objects=False):  # fmt: skip
        self.objects = objects
        self.out, self.labels, self.data_set, self.dates = out, labels, data_set, dates
        self.root = root
        self.config_hash = 'f00'
        self.tables = {name: [] for name in COLUMNS}
        spec = {
            'title': 'A <b>small</b> & made-up leaderboard',
            'recipe': 'recipe.py',
            'iterations': 300,
            'validations': 3,
            'seeds': list(seeds),
            'data': {data_set: str(root)},
            'blocks': {
                name: {'reference': next(iter(methods)), 'methods': {method: f'{method}.py' for method in methods}}
                for name, methods in blocks.items()
            },
        }  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        (out / 'spec.yaml').write_text(yaml.safe_dump(spec, sort_keys=False))
        for block, methods in blocks.items():
            for method, skill in methods.items():
                for seed in seeds:
                    self.run(block, method, seed, skill)

    def run(self, block, method, seed, skill, scored_at=T1):
        """Add the rows of one scored run."""
        key = {
            'block': block,
            'method': method,
            'data_set': self.data_set,
            'test_set': self.data_set,
            'seed': seed,
        }
        key['scored_at'] = scored_at
        rng = np.random.default_rng([len(block), sum(map(ord, method)), seed, int(scored_at[8:10])])
        threshold = round(float(rng.uniform(0.25, 0.45)), 4)
        cost = sum(map(ord, method)) % 7 + 1
        common = {
            'weights': 'ImageNet' if 'ImageNet' in block else 'none', 'parameters': 500_000 * cost,
            'macs': 10**9 * cost, 'iterations': 300, 'best_iteration': 200, 'train_seconds': 60 * cost + seed,
            'harness_seconds': 1, 'latency_ms': 5.25 * cost, 'throughput': 200 / cost,
            'peak_memory_mib': 500 + seed, 'timed_on': 'CPU, 1 thread', 'device': 'CPU, 2 threads', 'commit': 'abc1234',
            'data_hash': 'd07', 'config_hash': self.config_hash, 'status': 'ok',
        }  # fmt: skip
        probs = {name: self.predict(name, rng, skill) for name in self.labels}
        for protocol in ('whole', 'tiles_256'):
            stored = {
                name: np.roll(one, 2 if protocol == 'tiles_256' else 0, 0) for name, one in probs.items()
            }
            for k in range(8, 1024, 64):
                total = sum(self.count(one > k / 1024, self.labels[name]) for name, one in stored.items())
                self.add('curves', key, protocol=protocol, threshold=k / 1024, **self.named(total))
            for rule, limit in (('half', 0.5), ('val', threshold)):
                total = np.zeros(4, int)
                matched = {name: self.match(one, limit, name) for name, one in stored.items()}
                for name, one in stored.items():
                    counts = self.count(one > limit, self.labels[name])
                    more = matched_columns(matched[name]) if self.objects else {}
                    self.add(
                        'images',
                        key,
                        protocol=protocol,
                        threshold_rule=rule,
                        image=name,
                        **self.named(counts),
                        **more,
                    )
                    total += counts
                more = object_metrics(join(list(matched.values()))) if self.objects else {}
                for split in ('val', 'test'):
                    self.add(
                        'results', key, split=split, protocol=protocol, threshold_rule=rule, threshold=limit,
                        images=len(probs), pixels=total.sum(), **common, **self.figures(*total), **more,
                    )  # fmt: skip
        for rule, limit in (('half', 0.5), ('val', threshold)):
            groups = sum_groups(
                breakdown(one > limit, self.labels[name].astype(np.uint8)) for name, one in probs.items()
            )
            if self.objects:
                groups += object_groups(join([self.match(one, limit, name) for name, one in probs.items()]))
            for group in groups:
                row = {**vars(group), 'changed': int(group.changed)}
                self.add('breakdown', key, threshold_rule=rule, **row)
        for step in range(10, 301, 10):
            row = {'iteration': step, 'loss': 1 / step}
            if method.startswith('hsonet'):
                shift = 0.4 * step / 300
                row |= {
                    'eo_zeta': 1 - step / 300, 'eo_Z': 2, 'eo_grad_foreground': 0.6 - shift,
                    'eo_grad_hard_background': 0.1 + shift, 'eo_grad_easy_background': 0.3,
                }  # fmt: skip
            self.add('training', key, **row)
        for step in (100, 200, 300):
            self.add(
                'training',
                key,
                iteration=step,
                val_f1=0.1,
                val_best_f1=0.5 * skill * step / 300 + rng.normal(0, 0.01),
            )
        for name, one in probs.items():
            path = (
                self.out
                / Run(block, method, self.data_set, seed).folder
                / 'probs'
                / self.data_set
                / f'{name}.png'
            )
            if self.dates:
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), (255 * one).round().astype(np.uint8))
                (path.parents[2] / 'config.py').write_text(CONFIG)
                (path.parents[2] / 'trains.json').write_text(json.dumps([self.config_hash, 'd07']))

    def predict(self, name, rng, skill):
        label = self.labels[name].astype(np.float32)
        height, width = label.shape
        noise = cv2.resize(
            rng.random((height // 8, width // 8), dtype=np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        drop = cv2.resize(
            (rng.random((height // 16, width // 16)) < 0.6 + 0.3 * skill).astype(np.float32), (width, height)
        )
        soft = cv2.GaussianBlur(label, (0, 0), 1 + 1 / skill) * drop
        probs = 0.85 * soft + np.clip(noise - 0.75, 0, 1) * 3 * (1.4 - skill)
        return (255 * np.clip(probs, 0, 1)).round() / 255  # as stored

    def match(self, probs, limit, name):
        return match_objects(probs > limit, probs, self.labels[name].astype(np.uint8))

    @staticmethod
    def count(pred, label):
        return np.array(
            [(pred & label).sum(), (pred & ~label).sum(), (~pred & label).sum(), (~pred & ~label).sum()]
        )

    @staticmethod
    def named(counts):
        return dict(zip(('tp', 'fp', 'fn', 'tn'), map(int, counts), strict=True))

    @staticmethod
    def figures(tp, fp, fn, tn):
        precision, recall = (tp / (tp + other) if tp + other else 0.0 for other in (fp, fn))
        f1, iou = (tp * part / (tp * part + fp + fn) if tp + fp + fn else 0.0 for part in (2, 1))
        chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / (tp + fp + fn + tn) ** 2
        oa = (tp + tn) / (tp + fp + fn + tn)
        return {
            'precision': precision,
            'recall': recall,
            'f1': f1,
            'iou': iou,
            'oa': oa,
            'kappa': (oa - chance) / (1 - chance),
        }

    def add(self, table, key, **values):
        row = {**key, **values}
        self.tables[table].append(
            {name: '' if row.get(name) is None else row[name] for name in COLUMNS[table]}
        )

    def fail(self, block, method, seed, sentence, scored_at=T2, test_set=None):
        key = {
            'block': block,
            'method': method,
            'data_set': self.data_set,
            'seed': seed,
            'scored_at': scored_at,
        }
        facts = {'iterations': 300, 'config_hash': self.config_hash}
        self.add('results', key, test_set=test_set or self.data_set, status=f'failed: {sentence}', **facts)

    def drop(self, method, *seeds):
        for name, rows in self.tables.items():
            self.tables[name] = [
                row for row in rows if row['method'] != method or (seeds and row['seed'] not in seeds)
            ]

    def write(self):
        for name, rows in self.tables.items():
            with (self.out / f'{name}.csv').open('w', encoding='utf-8', newline='') as file:
                writer = csv.DictWriter(file, COLUMNS[name], lineterminator='\n')
                writer.writeheader()
                writer.writerows(rows)
        return self.out


def make_labels(number=8, side=64, seed=0):
    rng = np.random.default_rng(seed)
    labels = {}
    for index in range(number):
        label = np.zeros((side, side), bool)
        for _ in range(index % 4):  # some without a change
            top, left = rng.integers(0, side - 20, 2)
            height, width = rng.integers(6, 20, 2)
            label[top : top + height, left : left + width] = True
        labels[f'pair_{index:02}'] = label
    return labels


@pytest.fixture(scope='module')
def board(tmp_path_factory):
    """Two blocks, three methods, three seeds, pictures; one run failed, one was scored twice."""
    root = tmp_path_factory.mktemp('data')
    labels = make_labels()
    rng = np.random.default_rng(0)
    for name, label in labels.items():
        for part in ('A', 'B', 'label'):
            (root / 'test' / part).mkdir(parents=True, exist_ok=True)
            image = (
                255 * label.astype(np.uint8)
                if part == 'label'
                else rng.integers(0, 255, (*label.shape, 3), np.uint8)
            )
            cv2.imwrite(str(root / 'test' / part / f'{name}.png'), image)
    blocks = {'from scratch': SKILLS, 'ImageNet weights': {'hsonet_lite': 1.0, 'unet_r18': 0.9}}
    fake = Fake(tmp_path_factory.mktemp('board'), labels, blocks, root=root, dates=True)
    fake.run(
        'from scratch', 'ussfc_net', 1, 0.3, scored_at=T2
    )  # the same run, scored again with other figures
    fake.drop('tinycd', 2)
    fake.fail('from scratch', 'tinycd', 2, 'the loss is <NaN> | stop')
    fake.write()
    write_report(fake.out)
    return fake


def results(fake, **where):
    """Rows of results.csv with these values."""
    return [
        row
        for row in read(fake.out / 'results.csv')
        if all(row[name] == value for name, value in where.items())
    ]


def spec_of(fake):
    return read_spec(fake.out / 'spec.yaml')


def records_of(fake):
    return read_records(fake.out, spec_of(fake))


def tables_of(fake):
    return summarise(spec_of(fake), records_of(fake))


TABLE = {'split': 'test', 'protocol': 'whole', 'threshold_rule': 'val'}
CELL = Cell('from scratch', 'demo', 'demo', 'whole', 'val')
BOARDS = Path(__file__).parents[2] / 'docs/leaderboards'


class Page(HTMLParser):
    """Text of every cell of every table, and what the page loads or links."""

    def __init__(self, path):
        super().__init__()
        self.tables, self.links, self.tags, self.cell = [], [], [], None
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [
            value for name, value in attrs if name in ('src', 'href', 'xlink:href', 'srcset', 'data')
        ]
        if tag == 'table':
            self.tables.append([])
        if tag == 'tr':
            self.tables[-1].append([])
        if tag in ('td', 'th'):
            self.cell = ''

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag in ('td', 'th'):
            self.tables[-1][-1].append(' '.join(self.cell.split()))
            self.cell = None

    def score_tables(self):
        return [table for table in self.tables if 'verdict' in table[0]]


# -- is it significant?
def draw(rng, images, recall, alarms=0.02):
    """tp, fp, fn of independent images of one method, (images, 3)."""
    changed = rng.integers(50, 500, images)
    tp = rng.binomial(changed, np.clip(rng.normal(recall, 0.1, images), 0, 1))
    return np.stack([tp, rng.binomial(4000, alarms, images), changed - tp], 1)


def counts_of(*seeds):
    """Counts of a method by seed and image."""
    return {
        seed: {f'{index:05}': Confusion(*map(int, image), 0) for index, image in enumerate(images)}
        for seed, images in enumerate(seeds)
    }


def ends(gaps):
    return Interval(*np.quantile(gaps, [0.025, 0.975]))


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


def test_pairs_are_resampled_together():
    """Images of very different difficulty, one method always a little better: unpaired, that would drown."""
    fn = np.linspace(5, 95, 30).astype(int)
    reference = np.stack([100 - fn, fn * 0, fn], 1)[None]
    method = reference + np.array([1, 0, -1])
    found = ends(paired_bootstrap(method, reference))
    assert 0 < found.low < found.high < found.low + 0.01


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


# -- the summary
def test_rows_equal_the_results_file(board):
    tables = tables_of(board)
    assert len(tables) == 8  # two blocks, two protocols, two thresholds
    for cell, rows in tables.items():
        for row in rows:
            where = dict(
                zip(('block', 'data_set', 'test_set', 'protocol', 'threshold_rule'), cell, strict=True)
            )
            lines = results(board, method=row.method, split='test', status='ok', **where)
            if row.method == 'ussfc_net':
                assert len(lines) == 4
                lines = [line for line in lines if (line['seed'], line['scored_at']) != ('1', T1)]
            if row.method == 'tinycd':
                lines = [line for line in lines if line['seed'] != '2']
                assert row.failed == (2,)
            assert row.seeds == tuple(
                int(line['seed']) for line in sorted(lines, key=lambda line: line['seed'])
            )
            for name in (*FIGURES, 'threshold', *COSTS):
                values = [float(line[name]) for line in lines]
                found = (row.figures | row.costs)[name]
                assert found.mean == pytest.approx(statistics.mean(values))
                if name in ('parameters', 'macs', 'iterations', 'latency_ms', 'throughput'):
                    assert found == (values[0], None)
                else:
                    assert found.std == pytest.approx(statistics.stdev(values))
            assert row.scorings == (2 if row.method == 'ussfc_net' else 1)
            assert row.is_reference == (row.method == 'hsonet_lite')


def test_difference_is_of_the_seeds_in_common_and_f1_that_of_scikit_learn(board):
    rows = {row.method: row for row in tables_of(board)[CELL]}
    for method in ('ussfc_net', 'tinycd'):
        found, seeds = rows[method].comparison, rows[method].seeds
        newest = {(row['method'], row['seed']): float(row['f1']) for row in results(board, status='ok', **TABLE)
                  if row['block'] == 'from scratch'}  # fmt: skip
        gap = np.mean([newest[method, str(seed)] - newest['hsonet_lite', str(seed)] for seed in seeds])
        assert found.seeds == seeds == ((0, 1) if method == 'tinycd' else (0, 1, 2))
        assert found.difference == pytest.approx(gap, abs=1e-12)
        assert found.images == len(board.labels)
        assert found.over_images.low <= gap <= found.over_images.high
        assert sum(found.over_seeds) / 2 == pytest.approx(gap)
    wrong = rows['tinycd'].figures['f1'].mean - rows['hsonet_lite'].figures['f1'].mean
    assert abs(rows['tinycd'].comparison.difference - wrong) > 1e-4  # of unequal seeds
    assert rows['hsonet_lite'].comparison is None
    folder = board.out / 'runs/demo/from-scratch/hsonet_lite/seed0/probs/demo'
    (line,) = results(board, block='from scratch', method='hsonet_lite', seed='0', **TABLE)
    pred = [
        cv2.imread(str(folder / f'{name}.png'), 0).ravel() > 255 * float(line['threshold'])
        for name in board.labels
    ]
    truth = [label.ravel() for label in board.labels.values()]
    assert float(line['f1']) == pytest.approx(sklearn.f1_score(np.concatenate(truth), np.concatenate(pred)))


def test_blocks_are_never_mixed(board):
    tables = tables_of(board)
    assert {cell.block: {row.method for row in rows} for cell, rows in tables.items()} == {
        'from scratch': set(SKILLS), 'ImageNet weights': {'hsonet_lite', 'unet_r18'},
    }  # fmt: skip
    for cell, rows in tables.items():
        assert {row.weights for row in rows} == {'ImageNet' if 'ImageNet' in cell.block else 'none'}
        assert [row.figures['f1'].mean for row in rows] == sorted(
            (row.figures['f1'].mean for row in rows), reverse=True
        )
    for table in Page(board.out / 'index.html').score_tables():
        assert len({line[-2] for line in table[1:]}) == 1


# -- the page
def signed(value):
    return f'{100 * value:+.2f}'.replace('-', '\N{MINUS SIGN}')


def check_cells(shown, row):
    """Compare the cells of a line, by head, with a standing that has more than one seed."""
    assert shown['method'] == row.method
    assert shown['weights'] == row.weights
    assert shown['seeds'].split()[0] == str(len(row.seeds))
    for head, name in zip(('P', 'R', 'F1', 'IoU', 'OA', 'kappa'), row.figures, strict=False):
        mean, std = row.figures[name]
        assert shown[head] == f'{100 * mean:.2f} ± {100 * std:.2f}'
    mean, std = row.figures['threshold']
    assert shown['threshold'] == f'{mean:.3f} ± {std:.3f}'
    if row.is_reference:
        found = ['reference', '', '', '']
    else:
        gap = row.comparison
        seeds = '' if len(gap.seeds) == row.planned else f' (seeds {", ".join(map(str, gap.seeds))})'
        spans = [f'{signed(one.low)} to {signed(one.high)}' for one in (gap.over_images, gap.over_seeds)]
        found = [signed(gap.difference) + seeds, *spans, gap.verdict]
    heads = ('difference', '95 % over images', '95 % over seeds', 'verdict')
    assert [shown[head] for head in heads] == found


def shown_tables(board):
    """The tables as they follow each other on the page: the threshold of val first, whole images first."""
    order = [('whole', 'val'), ('whole', 'half'), ('tiles_256', 'val'), ('tiles_256', 'half')]
    return [
        tables_of(board)[Cell(block, 'demo', 'demo', *how)]
        for block in ('from scratch', 'ImageNet weights')
        for how in order
    ]


def test_page_shows_the_figures_of_the_csv(board):
    page = Page(board.out / 'index.html')
    tables = page.score_tables()
    assert len(tables) == 8
    heads = tables[0][0]
    for table, rows in zip(tables, shown_tables(board), strict=True):
        assert table[0] == heads
        for line, row in zip(table[1:], rows, strict=True):
            shown = dict(zip([*heads[:5], 'drawn', *heads[5:]], line, strict=True))
            check_cells(shown, row)
            assert shown['test scored'] == f'{row.scorings} \N{MULTIPLICATION SIGN}'
            assert (shown['method'] == 'tinycd') == ('failed' in shown['seeds'])
    assert 'Best: hsonet_lite, F1' in (board.out / 'index.html').read_text()


def test_page_is_one_file_without_scripts(board):
    page = Page(board.out / 'index.html')
    assert 'script' not in page.tags
    assert all(link.startswith(('data:image/', '#')) for link in page.links)
    text = (board.out / 'index.html').read_text()
    assert not re.search(r'url\((?!#)', text)
    assert '@import' not in text
    anchors = {link[1:] for link in page.links if link.startswith('#')}
    assert anchors <= set(re.findall(r'id="([^"]+)"', text))


def test_text_of_users_is_escaped(board):
    text = (board.out / 'index.html').read_text()
    assert '<title>A &lt;b&gt;small&lt;/b&gt; &amp; made-up leaderboard</title>' in text
    assert 'the loss is &lt;NaN&gt; | stop' in text
    assert '<NaN>' not in text
    markdown = (board.out / 'report.md').read_text()
    assert markdown.startswith('# A \\<b>small\\</b> & made-up leaderboard')
    assert 'demo / 2: the loss is \\<NaN> \\| stop' in markdown


def test_failed_runs_and_repeated_scorings_are_visible(board):
    page = Page(board.out / 'index.html')
    (line,) = (line for line in page.score_tables()[0] if line[0] == 'tinycd')
    assert line[1] == '2 of 3, 1 failed'
    assert ['from scratch', 'tinycd', 'demo', '2', 'the loss is <NaN> | stop'] in [
        row for table in page.tables for row in table
    ]
    (line,) = (line for line in page.score_tables()[0] if line[0] == 'ussfc_net')
    assert line[-1] == '2 \N{MULTIPLICATION SIGN}'
    text = (board.out / 'index.html').read_text()
    assert 'scored on the test split up to 2 times' in text
    assert '14 of 15 runs have a result, 1 failed.' in text


def markdown_tables(text):
    """Heads and lines of every table, without the signs of Markdown."""
    groups = re.findall(r'(?:^\|.*\n)+', text, flags=re.MULTILINE)
    for group in groups:
        heads, _, *lines = [
            [re.sub(r'\\(.)', r'\1', cell).strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
            for line in group.splitlines()
        ]
        yield heads, lines


def score_tables(text):
    return [(heads, lines) for heads, lines in markdown_tables(text) if 'verdict' in heads]


def test_markdown_says_what_its_figures_are_of(board):
    text = (board.out / 'report.md').read_text()
    for fact in ('runs: 14 of 15 runs have a result, 1 failed', 'iterations of a run: 300',
                 'device: CPU, 2 threads', 'timed on: CPU, 1 thread', 'commit: abc1234'):  # fmt: skip
        assert f'- {fact}\n' in text
    page = ' '.join((board.out / 'index.html').read_text().split())
    for words in (wording.COVERED[1:], wording.CHOSEN):
        assert words in text
        assert words.replace('"', '&#34;').replace("'", '&#39;') in page
    assert 'highest F1 on validation at its best threshold' in wording.CHOSEN


def test_markdown_and_csv_hold_the_same_rows(board):
    tables = tables_of(board)
    lines = list(csv.DictReader(io.StringIO((board.out / 'summary.csv').read_text())))
    assert len(lines) == sum(map(len, tables.values()))
    markdown = (board.out / 'report.md').read_text()
    for line in lines:
        (row,) = (
            row
            for row in tables[Cell(*(line[name] for name in Cell._fields))]
            if row.method == line['method']
        )
        assert float(line['f1_mean']) == row.figures['f1'].mean
        assert line['verdict'] == (row.comparison.verdict if row.comparison else '')
        assert [line['seeds'], line['planned']] == [str(len(row.seeds)), '3']
        assert line['timed_on'] == 'CPU, 1 thread'
        if row.comparison:
            found = [float(line[f'{kind}_{end}']) for kind in ('images', 'seeds') for end in ('low', 'high')]
            assert found == [*row.comparison.over_images, *row.comparison.over_seeds]
            assert line['common_seeds'] == str(len(row.comparison.seeds))
    for block in ('from scratch', 'ImageNet weights'):
        assert f'## Block: {block} (reference hsonet\\_lite)' in markdown
    written = score_tables(markdown)
    assert len(written) == len(tables)
    for (heads, lines), rows in zip(written, shown_tables(board), strict=True):
        for line, row in zip(lines, rows, strict=True):
            shown = dict(zip(heads, line, strict=True))
            check_cells(shown, row)
            assert shown['test scored'] == f'{row.scorings} \N{MULTIPLICATION SIGN}'


def cost_tables(board):
    """Heads and lines of the tables of costs: those of the page, and those of the Markdown file."""
    page = [(table[0], table[1:]) for table in Page(board.out / 'index.html').tables if 'GMACs' in table[0]]
    written = markdown_tables((board.out / 'report.md').read_text())
    return page, [(heads, lines) for heads, lines in written if 'GMACs' in heads]


def test_costs_that_are_measured_once_have_no_spread(board):
    tables = cost_tables(board)
    for (heads, lines), rows in zip(tables[0], shown_tables(board)[::4], strict=True):
        for line, row in zip(lines, rows, strict=True):
            shown = dict(zip(heads, line, strict=True))
            cost = row.costs['macs'].mean / 1e9  # how the figures are made up
            assert shown['M parameters'] == f'{cost / 2:.3f}'
            assert shown['GMACs'] == f'{cost:.3f}'
            assert shown['latency, ms'] == f'{5.25 * cost:.1f}'
            assert shown['pairs a second'] == f'{200 / cost:.1f}'
            for head, name, unit, digits in (
                ('training, min', 'train_seconds', 60, 1), ('peak memory, MiB', 'peak_memory_mib', 1, 0),
            ):  # fmt: skip
                values = [
                    {'train_seconds': 60 * cost, 'peak_memory_mib': 500}[name] + seed for seed in row.seeds
                ]
                mean, std = statistics.mean(values) / unit, statistics.stdev(values) / unit
                assert std > 0
                assert shown[head] == f'{mean:.{digits}f} ± {std:.{digits}f}'
            assert (shown['timed on'], shown['device']) == ('CPU, 1 thread', 'CPU, 2 threads')
    for (heads, lines), (page_heads, page_lines) in zip(*tables[::-1], strict=True):
        assert heads == [head for head in page_heads if head != 'F1']
        assert lines == [line[:1] + line[2:] for line in page_lines]
    for line in csv.DictReader(io.StringIO((board.out / 'summary.csv').read_text())):
        assert line['latency_ms_mean']
        assert line['latency_ms_std'] == line['throughput_std'] == line['macs_std'] == ''
        assert float(line['train_seconds_std']) > 0


def test_latencies_that_differ_between_seeds_have_a_spread(tmp_path):
    fake = small(tmp_path, seeds=(0, 1))
    for row in fake.tables['results']:
        row['latency_ms'] = 10 if row['seed'] else 12
    write_report(fake.write())
    for ((heads, (line,)),) in cost_tables(fake):
        shown = dict(zip(heads, line, strict=True))
        assert shown['latency, ms'] == '11.0 ± 1.4'
        assert '±' not in shown['GMACs'] + shown['pairs a second']


@pytest.mark.parametrize(
    ('last', 'shown'), [(1, ['2.0', '500.0', 'a GPU']), (2, ['5.2', '200.0', 'CPU, 1 thread'])], ids=str
)
def test_latencies_are_of_the_device_that_was_timed_last(tmp_path, last, shown):
    fake = small(tmp_path, seeds=(0, 1, 2))
    for row in fake.tables['results']:
        on_gpu = {'latency_ms': 2, 'throughput': 500, 'timed_on': 'a GPU'}
        row |= on_gpu if row['seed'] < 2 else {'latency_ms': 5.2, 'throughput': 200}
        row['scored_at'] = T2 if row['seed'] == last else T1
    write_report(fake.write())
    assert f'\n- timed on: {shown[-1]}\n' in (tmp_path / 'report.md').read_text()
    for ((heads, (line,)),) in cost_tables(fake):
        cells = dict(zip(heads, line, strict=True))
        assert [cells[head] for head in ('latency, ms', 'pairs a second', 'timed on')] == shown
        assert '±' in cells['training, min']  # of all seeds


def test_markdown_shows_where_methods_fail_as_the_page_does(board):
    page = Page(board.out / 'index.html').tables
    written = list(markdown_tables((board.out / 'report.md').read_text()))
    text = (board.out / 'report.md').read_text()
    found = 0
    for cell, methods in (
        (CELL, SKILLS),
        (CELL._replace(block='ImageNet weights'), ['hsonet_lite', 'unet_r18']),
    ):
        rows = tables_of(board)[cell]
        seeds = {row.method: row.seeds for row in rows}
        for table in breakdown_tables(records_of(board).of(cell), seeds, 'val'):
            assert {name for name, _ in table.rows} == set(methods)
            assert f'\n{table.title}. {table.note}'.replace('<', '\\<') in text
            heads = [
                'method',
                *(f'{group} ({amount})' if amount else group for group, amount in table.groups),
            ]
            lines = []
            for name, shares in table.rows:
                cells = [
                    '\N{EN DASH}'
                    if math.isnan(share.value)
                    else f'{share.value * (1 if table.counted else 100):.1f}'
                    for share in shares
                ]
                pixels = [
                    '' if math.isnan(share.pixels) else f' {100 * share.pixels:.1f}' for share in shares
                ]
                lines.append([name, *map(''.join, zip(cells, pixels, strict=True))])
            assert lines in [shown[1:] for shown in page]
            assert (heads, lines) in [
                (names, [[cell.replace('(', '').replace(')', '') for cell in line] for line in shown])
                for names, shown in written
            ]
            found += 1
    assert found == 8


def test_two_builds_are_equal(board):
    before = {name: (board.out / name).read_bytes() for name in ('index.html', 'report.md', 'summary.csv')}
    write_report(board.out)
    assert before == {name: (board.out / name).read_bytes() for name in before}
    assert not list(board.out.glob('.*'))


def test_breakdown_equals_the_counts(board):
    methods = {
        'tinycd': (0, 1),
        'hsonet_lite': (0, 1, 2),
        'unet_r18': (0, 1, 2),
    }  # the last is of the other block
    tables = breakdown_tables(records_of(board).of(CELL), methods, 'val')
    assert [(table.changed, table.counted) for table in tables] == [
        (True, False), (False, True), (True, False), (False, False),
    ]  # fmt: skip

    def rows(kind, group, changed):
        wanted = {'block': 'from scratch', 'method': 'hsonet_lite', 'threshold_rule': 'val'}
        wanted |= {'kind': kind, 'group': group, 'changed': changed}
        lines = read(board.out / 'breakdown.csv')
        return [line for line in lines if all(line[name] == value for name, value in wanted.items())]

    def total(lines, name):
        return sum(int(line[name]) for line in lines)

    text = (board.out / 'index.html').read_text()
    for table, kind in zip(tables, ('size', 'size', 'boundary', 'boundary'), strict=True):
        assert [name for name, _ in table.rows] == ['tinycd', 'hsonet_lite']
        assert table.title in text
        for (group, amount), share in zip(table.groups, table.rows[1][1], strict=True):
            lines = rows(kind, group, str(int(table.changed)))
            assert len(lines) == 3
            if table.counted:
                expected = total(lines, 'objects') / 3
                assert amount == ''
            elif kind == 'size':
                expected = total(lines, 'hits') / total(lines, 'objects')
                assert amount.split()[0] == lines[0]['objects']
                assert share.pixels == pytest.approx(total(lines, 'called') / total(lines, 'pixels'))
            else:
                expected = total(lines, 'called') / total(lines, 'pixels')
                assert amount == f'{int(lines[0]["pixels"]):,} px'
            assert share.value == pytest.approx(expected)
            assert 0 <= share.bar <= 1
        for column in range(len(table.groups)):
            ours, theirs = (shares[column] for _, shares in table.rows)
            if table.counted:  # few may be the few blobs that cover everything
                assert ours.best is theirs.best is False
            elif abs(ours.value - theirs.value) > 0.1:
                assert ours.best == ((ours.value > theirs.value) == table.changed)
                assert theirs.best != ours.best
    boundary = tables[2].rows[1][1][0].value
    assert f'>{100 * boundary:.1f}</td>' in text


def test_a_breakdown_of_fewer_seeds_than_the_scores_says_of_which(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'ussfc_net', 'tinycd'), (0, 1, 2))
    left = {'hsonet_lite': (0, 1, 2), 'ussfc_net': (2, 1), 'tinycd': (1,)}
    fake.tables['breakdown'] = [
        row for row in fake.tables['breakdown'] if row['seed'] in left[row['method']]
    ]  # fmt: skip
    page = Page(write_report(fake.write())).tables
    names = {'hsonet_lite', 'ussfc_net (seeds 1, 2)', 'tinycd (seed 1)'}
    tables = breakdown_tables(records_of(fake).of(CELL), dict.fromkeys(left, (0, 1, 2)), 'val')
    assert tables
    for table in tables:
        assert {name for name, _ in table.rows} == names
    written = [
        lines for heads, lines in markdown_tables((tmp_path / 'report.md').read_text()) if len(heads) > 1
    ]
    for shown in (page, written):
        assert sum({line[0] for line in lines[-3:]} == names for lines in shown) == len(tables)


def test_groups_stand_in_their_order_whichever_run_has_pixels_in_them(tmp_path):
    """A first run without false alarms of some size does not put that size last."""
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'))
    alarms = [row for row in fake.tables['breakdown'] if (row['kind'], row['changed']) == ('size', 0)]
    order = list(dict.fromkeys(row['group'] for row in alarms))
    for row in alarms:
        there = row['method'] == 'tinycd' or row['group'] == order[-1]
        row |= {'objects': int(there), 'pixels': 9 * there, 'called': 9 * there}
    fake.write()
    tables = breakdown_tables(records_of(fake).of(CELL), {'hsonet_lite': (0,), 'tinycd': (0,)}, 'val')
    (groups,) = ([group for group, _ in table.groups] for table in tables if table.counted)
    assert groups == order
    assert len(order) > 2


def test_published_figures_stand_apart_with_their_notes(board):
    text = (board.out / 'index.html').read_text()
    assert 'Not comparable with ours' in text
    assert '91.04 (P 89.70, R 92.42)' in text
    assert 'Best epoch chosen on the test set' in text
    assert text.index('id="failed"') < text.index('91.04 (P')  # not in a table of ours


def test_published_figures_keep_their_digits(board):
    page = Page(board.out / 'index.html')
    (heads, *shown) = next(table for table in page.tables if 'published, other protocols' in table[0])[1:]
    own = len(heads) - 4
    with FILE.open(encoding='utf-8', newline='') as file:
        stated = list(csv.DictReader(file))
    lines = {line[0]: dict(zip(heads[own:], line[2 + own :], strict=True)) for line in shown}
    for row in stated:
        cell = lines[row['method']][row['data_set']]
        figures = [row[name] for name in ('f1_low', 'f1_high', 'precision', 'recall', 'iou_low')]
        assert set(re.findall(r'\d+\.\d+', cell)) == set(figures) - {''}
    assert lines['tinycd']['SYSU-CD'].startswith('81.0 ')
    (_, written) = next(
        (heads, lines)
        for heads, lines in markdown_tables((board.out / 'report.md').read_text())
        if 'LEVIR-CD' in heads
    )
    assert [[re.sub(r' \((\d+)\)$', r' \1', cell) for cell in line] for line in written] == shown
    notes = re.findall(r'<li id="n\d+">(.*?)</li>', (board.out / 'index.html').read_text())
    text = (board.out / 'report.md').read_text()
    for number, note in enumerate(notes, 1):
        assert f'\n{number}. {note}\n' in text


def test_published_figures_are_consistent():
    entries = read_published()
    assert len({(entry.method, entry.data_set) for entry in entries}) == len(entries) == 44
    for entry in entries:
        low, high = float(entry.f1_low), float(entry.f1_high)
        assert 0 < low <= high < 100
        assert ('differs between the papers' in entry.protocol) == (low < high)
        assert 'as the paper' not in entry.protocol
        assert re.search(r' et al\.| and .*, .*20\d\d', entry.source), 'a paper, by its authors'
        if entry.iou_low:  # IoU = F1 / (2 - F1)
            assert float(entry.iou_low) == pytest.approx(100 * low / (200 - low), abs=0.15)
        if entry.precision:
            precision, recall = float(entry.precision), float(entry.recall)
            assert low == pytest.approx(2 * precision * recall / (precision + recall), abs=0.01)
        start = {'tinycd': 'ImageNet weights', 'bit_r18': 'ImageNet weights', 'fc_ef': 'from scratch'}
        assert start.get(entry.method, '') in entry.protocol
    (ussfc,) = (entry for entry in entries if (entry.method, entry.data_set) == ('ussfc_net', 'LEVIR-CD'))
    for trap in ('test set', 'swaps precision and recall', '6,912 of 43,200'):
        assert trap in ussfc.footnote
    assert 'not the official split' in ussfc.protocol


# -- pictures
def test_worst_and_disputed_images_are_the_right_ones(board):
    spec, records = spec_of(board), records_of(board)
    rows = summarise(spec, records)[CELL]
    album = pictures.gallery(board.out, spec, records.of(CELL), CELL, rows)
    assert album.missing == ''
    masks = {}
    for row in rows:
        seed = row.seeds[0]
        where = {'block': 'from scratch', 'method': row.method, 'seed': seed, **TABLE}
        (line,) = rows_of(records.results, **where).to_dict('records')
        folder = board.out / f'runs/demo/from-scratch/{row.method}/seed{seed}/probs/demo'
        for name in board.labels:
            masks[row.method, name] = cv2.imread(str(folder / f'{name}.png'), 0) > 255 * float(
                line['threshold']
            )
        scores = {
            name: sklearn.f1_score(label.ravel(), masks[row.method, name].ravel())
            for name, label in board.labels.items()
            if label.any()
        }
        scenes = dict(album.worst)[row.method]
        assert [scene.image for scene in scenes[:2]] == sorted(scores, key=scores.get)[:2]
        alarms = {name: int((masks[row.method, name] & ~label).sum()) for name, label in board.labels.items()}
        assert 'most false alarms' in next(
            scene.why for scene in scenes if scene.image == max(alarms, key=alarms.get)
        )
    names = [row.method for row in rows]
    disputes = {
        image: np.mean(
            [(masks[a, image] ^ masks[b, image]).mean() for i, a in enumerate(names) for b in names[:i]]
        )
        for image in board.labels
    }
    assert [scene.image for scene in album.disputed] == sorted(disputes, key=disputes.get, reverse=True)[:3]
    assert [picture.caption.split(':')[0] for picture in album.disputed[0].pictures] == [
        'date 1',
        'date 2',
        'label',
        *names,
    ]
    assert album.disputed[0].why.endswith(f'{max(disputes.values()):.1%} of the pixels on average')


def test_pictures_can_be_left_out(board):
    text = (board.out / 'index.html').read_text()
    assert 'data:image/jpeg' in text
    without = write_report(board.out, pictures=False).read_text()
    assert 'data:image' not in without
    assert 'Pictures were left out of this page on request' in without
    write_report(board.out)
    assert (board.out / 'index.html').read_text() == text


def test_page_says_why_pictures_are_missing(board, tmp_path):
    spec, records = spec_of(board), records_of(board)
    rows = summarise(spec, records)[CELL]

    def missing(out=board.out, data=spec.data):
        return pictures.gallery(out, spec.model_copy(update={'data': data}), records.of(CELL), CELL, rows)

    assert 'probs/demo of the runs are not there' in missing(out=tmp_path).missing
    assert f'the folder {tmp_path}/test/A does not exist' in missing(data={'demo': str(tmp_path)}).missing
    assert 'the environment variable NO_SUCH_ROOT of' in missing(data={'demo': '${NO_SUCH_ROOT}'}).missing
    for part in ('A', 'B', 'label'):
        (tmp_path / 'test' / part).mkdir(parents=True)
        for name in board.labels:
            cv2.imwrite(str(tmp_path / 'test' / part / f'{name}.png'), np.zeros((20, 20), np.uint8))
    assert 'differ in size' in missing(data={'demo': str(tmp_path)}).missing
    for path in (tmp_path / 'test/label').iterdir():
        path.write_bytes(b'no image')
    assert 'cannot be read as an image' in missing(data={'demo': str(tmp_path)}).missing


def test_pictures_of_another_training_are_left_out(board, tmp_path):
    shutil.copytree(board.out / 'runs', tmp_path / 'runs')
    for path in tmp_path.glob('runs/*/*/tinycd/*/trains.json'):
        path.write_text(json.dumps(['of another one', 'd07']))
    rows = tables_of(board)[CELL]
    shown = pictures.gallery(tmp_path, spec_of(board), records_of(board).of(CELL), CELL, rows)
    everything = pictures.gallery(board.out, spec_of(board), records_of(board).of(CELL), CELL, rows)
    assert {method for method, _ in everything.worst} - {method for method, _ in shown.worst} == {'tinycd'}


def test_pictures_show_what_was_scored(board, tmp_path):
    """Labels of 0 and 1, with pixels that are ignored, in folders that the config of the run names."""
    spec, records = spec_of(board), records_of(board)
    rows = tables_of(board)[CELL]
    ours = pictures.gallery(board.out, spec, records.of(CELL), CELL, rows)
    for name, label in board.labels.items():
        for part, folder in (('A', 'before'), ('B', 'after')):
            (tmp_path / folder).mkdir(exist_ok=True)
            source = board.root / 'test' / part / f'{name}.png'
            (tmp_path / folder / f'{name}.png').write_bytes(source.read_bytes())
        (tmp_path / 'truth').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / 'truth' / f'{name}.png'), label.astype(np.uint8))
    out = tmp_path / 'board'
    config = CONFIG.replace('test/A', 'before').replace('test/B', 'after').replace('test/label', 'truth')
    shutil.copytree(board.out / 'runs', out / 'runs')
    for path in out.rglob('config.py'):
        path.write_text(config)
    moved = spec.model_copy(update={'data': {'demo': str(tmp_path)}})
    assert pictures.gallery(out, moved, records.of(CELL), CELL, rows) == ours
    ignored = np.zeros((64, 64), bool)
    ignored[:, :40] = True
    for name, label in board.labels.items():
        values = np.where(ignored, 9, label).astype(np.uint8)
        cv2.imwrite(str(tmp_path / 'truth' / f'{name}.png'), values)
    for path in out.rglob('config.py'):
        path.write_text(config.replace("LoadAnnotations'", "LoadAnnotations', 'ignore_value': 9"))
    (scene,) = pictures.gallery(out, moved, records.of(CELL), CELL, rows).disputed[:1]
    label, errors = (
        cv2.imdecode(np.frombuffer(base64.b64decode(picture.data.split(',')[1]), np.uint8), 1)
        for picture in scene.pictures[2:4]
    )
    assert (label[ignored] == 128).all()
    assert (errors[ignored] == 0).all()
    assert set(np.unique(label[~ignored])) <= {0, 255}


def test_a_method_without_probabilities_is_named(tmp_path, board):
    spec, records = spec_of(board), records_of(board)
    rows = summarise(spec, records)[CELL]
    folder = tmp_path / 'runs/demo/from-scratch/hsonet_lite'
    folder.parent.mkdir(parents=True)
    folder.symlink_to(board.out / 'runs/demo/from-scratch/hsonet_lite')
    album = pictures.gallery(tmp_path, spec, records.of(CELL), CELL, rows)
    assert album.disputed == []
    assert [method for method, _ in album.worst] == ['hsonet_lite']
    assert album.missing == 'there are no probabilities of ussfc_net, tinycd'


# -- objects
def test_objects_have_a_table_of_their_own(tmp_path):
    blocks = {'from scratch': SKILLS}
    fake = Fake(tmp_path, make_labels(8, 64), blocks, objects=True)
    page = write_report(fake.write()).read_text()
    (rows,) = (
        rows
        for cell, rows in tables_of(fake).items()
        if (cell.protocol, cell.threshold_rule) == ('whole', 'val')
    )
    (table,) = (one for one in markdown_tables((tmp_path / 'report.md').read_text()) if one[0][5:6] == ['AP'])
    heads, lines = table
    assert heads[:6] == ['method', 'seeds', 'P', 'R', 'F1', 'AP']
    summary = list(csv.DictReader(io.StringIO((tmp_path / 'summary.csv').read_text())))
    for row, line in zip(rows, lines, strict=True):
        results = [
            float(one['object_ap']) for one in read(tmp_path / 'results.csv')
            if (one['method'], one['split'], one['protocol'], one['threshold_rule'])
            == (row.method, 'test', 'whole', 'val')
        ]  # fmt: skip
        assert line[5] == f'{100 * np.mean(results):.2f} ± {100 * np.std(results, ddof=1):.2f}'
        (stored,) = (
            one for one in summary
            if (one['method'], one['protocol'], one['threshold_rule']) == (row.method, 'whole', 'val')
        )  # fmt: skip
        assert float(stored['object_ap_mean']) == pytest.approx(np.mean(results))
        if row.is_reference:
            assert (line[6], stored['object_ap_difference']) == ('reference', '')
            base = np.mean(results)
    for row, line in zip(rows, lines, strict=True):
        if not row.is_reference:
            gap = row.object_comparisons['object_ap']
            assert gap.difference == pytest.approx(row.figures['object_ap'].mean - base)
            spans = [f'{signed(one.low)} to {signed(one.high)}' for one in (gap.over_images, gap.over_seeds)]
            assert line[6:10] == [signed(gap.difference), *spans, gap.verdict]
    for cell in (cell for line in lines for cell in line):
        assert f'<td>{cell}</td>' in page
    assert 'objects matched at equal precision' in page


def test_a_board_of_a_version_that_matched_no_objects(board):
    for name in ('report.md', 'index.html', 'summary.csv'):
        text = (board.out / name).read_text()
        assert 'object_ap' not in text
        assert 'AP ranks' not in text


# -- small and broken leaderboards
def small(tmp_path, methods=('hsonet_lite',), seeds=(0,), labels=None):
    return Fake(
        tmp_path,
        labels or make_labels(4, 32),
        {'from scratch': {name: SKILLS[name] for name in methods}},
        seeds,
    )


def test_one_method_and_one_seed(tmp_path):
    text = write_report(small(tmp_path).write()).read_text()
    assert 'Best: hsonet_lite, F1' in text
    assert re.search(r'\d ± \N{EN DASH}', text)
    assert 'probs/demo of the runs are not there' in text


def test_one_seed_decides_nothing(tmp_path):
    out = small(tmp_path, ('hsonet_lite', 'tinycd')).write()
    text = write_report(out).read_text()
    assert 'over seeds: one seed): worse (significant over images, not over seeds).' in text
    assert 'class="verdict worse"' not in text
    (line,) = (line for line in Page(out / 'index.html').score_tables()[0] if line[0] == 'tinycd')
    assert line[6:8] == ['one seed', 'worse (significant over images, not over seeds)']


@pytest.mark.parametrize('table', ['images', 'curves', 'breakdown', 'training'])
def test_an_empty_or_missing_table_leaves_its_part_out(tmp_path, table):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'))
    fake.tables[table] = []
    whole = write_report(fake.write()).read_text()
    (tmp_path / f'{table}.csv').unlink()
    assert write_report(tmp_path).read_text() == whole
    titles = {
        'curves': '<h4>Precision and recall',
        'breakdown': '<h4>Where the methods fail',
        'training': '<h4>Training',
    }
    for name, title in titles.items():
        assert (title in whole) == (name != table)
    assert ('no counts by image' in whole) == (table == 'images')


def test_no_run_yet(tmp_path):
    fake = small(tmp_path)
    fake.tables = {name: [] for name in COLUMNS}
    text = write_report(fake.write()).read_text()
    assert 'No run yet' in text
    assert 'No run yet' in (tmp_path / 'report.md').read_text()


def test_a_method_that_always_failed_is_the_last_row(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0, 1))
    fake.drop('tinycd')
    for seed in (0, 1):
        fake.fail('from scratch', 'tinycd', seed, 'out of memory')
    page = Page(write_report(fake.write()))
    assert page.score_tables()[0][-1][:4] == ['tinycd', 'all 2 failed', wording.NONE, wording.NONE]
    assert 'all 2 failed' in (tmp_path / 'report.md').read_text()
    fake.drop('hsonet_lite')
    fake.fail('from scratch', 'hsonet_lite', 0, 'out of memory')
    text = write_report(fake.write()).read_text()
    assert 'No method has a result.' in text
    assert '0 of 4 runs have a result, 3 failed.' in text


def test_a_failure_counts_once_on_however_many_test_sets(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'))
    spec = yaml.safe_load((tmp_path / 'spec.yaml').read_text())
    (tmp_path / 'spec.yaml').write_text(yaml.safe_dump({**spec, 'also_test': {'other': 'nowhere'}}))
    for test_set in ('demo', 'other'):
        fake.fail('from scratch', 'hsonet_lite', 0, 'killed', test_set=test_set)
    fake.write()
    assert list(records_of(fake).failures.values()) == ['killed']


def test_a_lost_reference_is_named(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd', 'ussfc_net'))
    fake.drop('hsonet_lite')
    text = write_report(fake.write()).read_text()
    assert 'The reference hsonet_lite has no result' in text


def test_a_run_that_recovered_has_not_failed_and_a_later_failure_hides_no_figures(tmp_path):
    fake = small(tmp_path)
    fake.fail('from scratch', 'hsonet_lite', 0, 'killed', scored_at='2025-12-31T00:00:00.000Z')
    fake.write()
    records = records_of(fake)
    assert records.failures == {}
    rows = records.results
    assert len(rows)
    fake.fail('from scratch', 'hsonet_lite', 0, '', scored_at=T2)
    fake.write()
    records = records_of(fake)
    assert list(records.failures.values()) == ['no reason was given']
    assert len(records.results) == len(rows)
    assert 'no reason was given' in write_report(fake.out).read_text()


def left(out):
    """What the page says of scorings that are part of no table."""
    return dict(line for table in Page(out / 'index.html').tables for line in table if len(line) == 2).get(
        'left out'
    )


def test_a_part_of_a_board_says_so(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd', 'ussfc_net'), (0, 1, 2))
    fake.drop('ussfc_net')
    for name, rows in fake.tables.items():
        fake.tables[name] = [row for row in rows if (row['method'], row['seed']) != ('tinycd', 1)]
    write_report(fake.write())
    lines = {line[0]: line for line in Page(tmp_path / 'index.html').score_tables()[0]}
    assert lines['hsonet_lite'][1] == '3'
    assert lines['tinycd'][1] == '2 of 3'
    assert lines['tinycd'][3].endswith(' (seeds 0, 2)')
    assert list(lines)[-1] == 'ussfc_net'
    assert lines['ussfc_net'][1:4] == ['no run yet', wording.NONE, wording.NONE]
    text, markdown = ((tmp_path / name).read_text() for name in ('index.html', 'report.md'))
    assert '<strong>5 of 9 runs have a result.</strong>' in text
    assert '- runs: 5 of 9 runs have a result\n' in markdown
    for one in (text, markdown):
        assert 'Best so far: ' in one
    (heads, first), *others = score_tables(markdown)
    assert dict(zip(heads, first[-1], strict=True))['seeds'] == 'no run yet'
    assert all(line[0] != 'ussfc\\_net' for _, lines in others for line in lines)
    assert left(tmp_path) is None


def test_a_data_set_without_a_run_is_named(tmp_path):
    fake = small(tmp_path)
    spec = yaml.safe_load((tmp_path / 'spec.yaml').read_text())
    spec['data']['far_away'] = 'elsewhere'
    (tmp_path / 'spec.yaml').write_text(yaml.safe_dump(spec))
    text = write_report(fake.write()).read_text()
    assert text.count('No run yet: trained on far_away.') == 2
    assert 'No run yet: trained on far\\_away.' in (tmp_path / 'report.md').read_text()
    assert '1 of 2 runs have a result' in text
    assert 'so far' not in text  # the one table is complete


def test_only_runs_of_the_spec_are_ranked(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd', 'ussfc_net'), (0, 1))
    for name, rows in fake.tables.items():  # scored on another test split too
        fake.tables[name] += [
            row | {'test_set': 'far_away'}
            for row in rows
            if row['method'] == 'tinycd' and row['test_set'] and name != 'training'
        ]
    fake.fail('from scratch', 'ussfc_net', 0, 'long ago')
    spec = yaml.safe_load((tmp_path / 'spec.yaml').read_text())
    spec['seeds'] = [1]
    del spec['blocks']['from scratch']['methods']['ussfc_net']
    (tmp_path / 'spec.yaml').write_text(yaml.safe_dump(spec))
    text = write_report(fake.write()).read_text()
    tables = tables_of(fake)
    assert {cell.test_set for cell in tables} == {'demo'}
    for rows in tables.values():
        assert {row.method: row.seeds for row in rows} == {'hsonet_lite': (1,), 'tinycd': (1,)}
    records = records_of(fake)
    for table in (records.results, records.images, records.curves, records.breakdown, records.training):
        assert set(zip(table['method'], table['seed'], strict=True)) == {('hsonet_lite', 1), ('tinycd', 1)}
    assert records.failures == {}
    assert left(tmp_path) == '7 scorings not in the spec'  # 2 of seed 0, 3 of ussfc_net, 2 of the other split
    assert '- left out: 7 scorings not in the spec\n' in (tmp_path / 'report.md').read_text()
    assert '2 of 2 runs have a result' in text


def test_a_row_is_of_one_config(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0, 1))
    fake.config_hash = 'new'
    fake.run('from scratch', 'tinycd', 1, 0.9, scored_at=T2)
    write_report(fake.write())
    rows = {row.method: row for row in tables_of(fake)[CELL]}
    assert (rows['tinycd'].seeds, rows['tinycd'].scorings) == ((1,), 2)
    assert rows['hsonet_lite'].seeds == (0, 1)
    assert left(tmp_path) == '2 scorings of another config'
    fake.fail('from scratch', 'hsonet_lite', 0, 'the new config is too large')
    write_report(fake.write())
    (row,) = (row for row in tables_of(fake)[CELL] if row.method == 'hsonet_lite')
    assert (row.seeds, row.failed, row.figures) == ((), (0,), {})
    assert left(tmp_path) == '4 scorings of another config'


def test_rows_of_a_config_out_of_date_are_left_out(tmp_path):
    """What is ranked together was trained by the configs of one start, whatever else is there."""
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0,))
    hashes = {'from scratch': {'hsonet_lite': 'f00', 'tinycd': 'new'}}
    (tmp_path / 'configs.json').write_text(json.dumps(hashes))
    write_report(fake.write())
    rows = {row.method: row for row in tables_of(fake)[CELL]}
    assert (rows['hsonet_lite'].seeds, rows['tinycd'].seeds) == ((0,), ())
    assert left(tmp_path) == '1 scoring of another config'
    (tmp_path / 'configs.json').write_text('[1')
    with pytest.raises(UserError, match=r'configs\.json is damaged'):
        write_report(fake.out)


@pytest.mark.parametrize('name', sorted(path.name for path in BOARDS.iterdir() if path.is_dir()))
def test_board_in_the_documents_is_whole(name, tmp_path):
    """It belongs to a spec that is shipped, and its intervals can be made again: the counts give the scores."""
    folder = BOARDS / name
    shutil.copy(folder / 'results.csv', tmp_path)
    (tmp_path / 'images.csv').write_bytes(gzip.decompress((folder / 'images.csv.gz').read_bytes()))
    shipped = BOARDS.parents[1] / f'configs/leaderboard/{name}.yaml'
    assert (folder / 'spec.yaml').read_text().endswith(shipped.read_text())
    spec = read_spec(shipped)
    records = read_records(tmp_path, spec)
    report = (folder / 'report.md').read_text()
    assert report.startswith(f'# {spec.title}\n\n- runs: {wording.progress(spec, records)}\n')
    tested = rows_of(records.results, split='test').to_dict('records')
    assert tested
    for row in tested:
        images = records.counts[Cell(*(row[name] for name in Cell._fields))][row['method']][
            int(row['seed'])
        ].values()
        assert sum(images, Confusion()).f1 == pytest.approx(float(row['f1']))
    with (folder / 'summary.csv').open(newline='') as file:
        assert {row['method'] for row in csv.DictReader(file) if row['f1_mean']} == {
            row['method'] for row in tested
        }


def test_openings_without_a_row_are_counted(tmp_path):
    fake = small(tmp_path)
    for row in fake.tables['results']:
        row['openings'] = 3 if row['split'] == 'test' else ''
    text = write_report(fake.write()).read_text()
    assert tables_of(fake)[CELL][0].scorings == 3
    assert 'scored on the test split up to 3 times' in text


def test_a_table_is_of_one_number_of_iterations(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0, 1))
    for row in fake.tables['results']:
        if (row['method'], row['seed']) == ('tinycd', 1):
            row |= {'iterations': 600, 'scored_at': T2}
    write_report(fake.write())
    (row,) = (row for row in tables_of(fake)[CELL] if row.method == 'tinycd')
    assert row.seeds == (0,)
    assert left(tmp_path) == '1 scoring after another number of iterations'


def test_no_seed_in_common_is_told(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0, 1))
    for name, rows in fake.tables.items():
        fake.tables[name] = [
            row for row in rows if (row['method'], row['seed']) in (('hsonet_lite', 0), ('tinycd', 1))
        ]
    text = write_report(fake.write()).read_text()
    assert 'have no seed in common' in text
    (line,) = (line for line in Page(tmp_path / 'index.html').score_tables()[0] if line[0] == 'tinycd')
    assert line[3:5] == [wording.NONE, 'no seed in common']


@pytest.mark.parametrize('alter', ['image', 'label', 'hash'])
def test_runs_of_different_test_sets_are_told(tmp_path, alter):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0, 1))
    warning = 'The runs of this table were not all scored on the same test files'
    assert warning not in write_report(fake.write()).read_text()
    mine = [row for row in fake.tables['images'] if (row['method'], row['seed']) == ('tinycd', 1)]
    for row in mine:
        if row['image'] == 'pair_03':
            row |= {'image': {'image': 'pair_99'}, 'label': {'fn': row['fn'] + 7}, 'hash': {}}[alter]
    for row in fake.tables['results']:
        if (alter, row['method'], row['seed']) == ('hash', 'tinycd', 1):
            row['data_hash'] = 'other'
    text = write_report(fake.write()).read_text()
    assert f'<p class="bad">{warning}' in text
    assert f'**{warning}' in (tmp_path / 'report.md').read_text()
    assert ('changed scores F1' in text) == (alter == 'hash')  # else there is no one share of changed pixels
    (row,) = (row for row in tables_of(fake)[CELL] if row.method == 'tinycd')
    assert row.comparison.images == (3 if alter == 'image' else 4)


def test_tiles_that_score_as_whole_images_are_left_out(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0, 1))
    text = write_report(fake.write()).read_text()
    assert 'Left out, as every count' not in text
    names = ('images', 'results')
    for name in names:
        whole = [row for row in fake.tables[name] if row['protocol'] == 'whole']
        fake.tables[name] = [*whole, *(row | {'protocol': 'tiles_256'} for row in whole)]
    text = write_report(fake.write()).read_text()
    assert len(Page(tmp_path / 'index.html').score_tables()) == 2
    assert len(score_tables((tmp_path / 'report.md').read_text())) == 2
    sentence = (
        'Left out, as every count equals that of whole images: 256 tiles, threshold chosen on val; 256 tiles'
    )
    assert sentence in text
    assert sentence in (tmp_path / 'report.md').read_text()
    assert '<th>256 tiles' not in text
    assert len((tmp_path / 'summary.csv').read_text().splitlines()) == 9  # there they are


def test_latencies_of_two_devices_are_not_joined(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0, 1))
    write_report(fake.write())
    rows, looks = tables_of(fake)[CELL], styles(SKILLS)

    def joined(cost):
        return 'stroke-dasharray' in cost_plot(tables_of(fake)[CELL], cost, looks)

    assert joined('macs')
    assert joined('latency_ms')
    assert {row.timed_on for row in rows} == {'CPU, 1 thread'}
    for row in fake.tables['results']:
        if row['method'] == 'tinycd':
            row['timed_on'] = 'a GPU'
    page = Page(write_report(fake.write()))
    assert joined('macs')
    assert not joined('latency_ms')
    (cost,) = (table for table in page.tables if 'GMACs' in table[0])
    column = cost[0].index('timed on')
    assert {line[0]: line[column] for line in cost[1:]} == {
        'hsonet_lite': 'CPU, 1 thread', 'tinycd': 'a GPU',
    }  # fmt: skip


def test_tables_from_before_the_columns_of_timing_are_read(tmp_path):
    fake = small(tmp_path)
    fake.write()
    for name, column in (('results', 'timed_on'), ('training', 'val_best_f1')):
        rows = read(tmp_path / f'{name}.csv')
        with (tmp_path / f'{name}.csv').open('w', newline='') as file:
            writer = csv.DictWriter(file, [one for one in rows[0] if one != column], extrasaction='ignore')
            writer.writeheader()
            writer.writerows(rows)
    write_report(tmp_path)
    assert tables_of(fake)[CELL][0].timed_on == 'CPU, 2 threads'


def test_validations_at_different_iterations_have_no_mean(tmp_path):
    fake = small(tmp_path, seeds=(0, 1))
    for row in fake.tables['training']:
        row['iteration'] += row['seed']
    text = write_report(fake.write()).read_text()
    assert 'aria-label="F1 on the validation split over the training"' in text  # the seeds are there
    assert 'shares of the gradient of' not in text
    fake.tables['training'] = [
        row | {'iteration': row['iteration'] - row['seed']} for row in fake.tables['training']
    ]
    assert 'shares of the gradient of' in write_report(fake.write()).read_text()


def test_validation_is_drawn_at_its_best_threshold(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'hsonet_mm.leaderboard.plots.to_svg', lambda figure, alt: drawn.append((alt, figure.axes[0])) or ''
    )
    fake = small(tmp_path)
    write_report(fake.write())
    (axes,) = (axes for alt, axes in drawn if alt.startswith('F1 on the validation'))
    (line,) = axes.lines
    logged = [100 * row['val_best_f1'] for row in fake.tables['training'] if row['val_best_f1']]
    assert line.get_ydata() == pytest.approx(logged)


def test_what_was_not_measured_is_a_dash(tmp_path):
    fake = small(tmp_path)
    for row in fake.tables['results']:
        row |= {'latency_ms': '', 'macs': '', 'device': ''}
    page = Page(write_report(fake.write()))
    (cost,) = (table for table in page.tables if 'GMACs' in table[0])
    assert cost[1][3:5] == [wording.NONE, wording.NONE]


def test_mistakes_are_told_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match='spec'):
        write_report(tmp_path)
    fake = small(tmp_path)
    with pytest.raises(UserError, match=r'results\.csv does not exist: run the leaderboard'):
        write_report(tmp_path)
    for row in fake.tables['results']:
        row['f1'] = 'many'
    with pytest.raises(UserError, match=r"invalid value 'many' .*: expected"):
        write_report(fake.write())


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    out = small(tmp_path).write()
    for name in [name for name in sys.modules if name.split('.')[0] == 'matplotlib']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(UserError, match=r'matplotlib: pip install "hsonet_mm\[leaderboard\]"'):
        write_report(out)
    assert not (out / 'index.html').exists()


# -- words and plots
def two_rows(gap, over_images, over_seeds=None, images=40, first='tinycd', **kwargs):
    """Two rows, the reference and a method, best first."""
    known = {'planned': 2, 'seeds': (0, 1)}
    reference = Standing(CELL, 'hsonet_lite', **known, figures={'f1': Spread(0.8, 0.001)}, is_reference=True)
    intervals = [None if one is None else Interval(*one) for one in (over_images, over_seeds)]
    comparison = Comparison(gap, *intervals, 0.5, images, (0, 1) if over_seeds else (1,))
    method = Standing(
        CELL, 'tinycd', **known | kwargs, figures={'f1': Spread(0.8 + gap, 0.001)}, comparison=comparison
    )
    return [method, reference] if first == 'tinycd' else [reference, method]


UP, DOWN, WIDE = (0.01, 0.03), (-0.03, -0.01), (-0.05, 0.09)


@pytest.mark.parametrize(
    'rows',
    [
        two_rows(0.02, UP, (0.005, 0.04)), two_rows(0.02, UP, WIDE), two_rows(0.02, UP), two_rows(0.02, WIDE, UP),
        two_rows(-0.02, DOWN, DOWN, first='hsonet_lite'),
    ],
)  # fmt: skip
def test_a_table_is_summed_up_by_what_stands_in_it(rows):
    """The best method, its score, the difference of the other, both intervals and the verdict, as in the table."""
    text = wording.said(rows, 'hsonet_lite', None)
    (other,) = (row for row in rows if row.comparison)
    assert text.startswith(f'Best: {rows[0].method}, F1 {wording.percent(rows[0].figures["f1"])}')
    for part in (
        wording.difference(other),
        *(wording.interval(other.comparison, kind) for kind in ('images', 'seeds')),
    ):
        assert part in text
    assert text.endswith(f': {other.comparison.verdict}.')


def test_what_cannot_be_compared_is_told():
    text = wording.said(two_rows(math.nan, None, images=0), 'hsonet_lite', None)
    assert text.endswith('have no image in common.')


def test_numbers_in_words():
    assert wording.percent(Spread(0.8421, 0.0035)) == '84.21 ± 0.35'
    assert wording.percent(Spread(0.8421, None)) == '84.21 ± \N{EN DASH}'
    assert wording.percent(Spread(-1e-9, None)) == '0.00 ± \N{EN DASH}'
    assert wording.percent(None) == wording.NONE
    assert wording.difference(two_rows(-0.000001, (0, 0), (0, 0))[0]) == '0.00'
    assert wording.difference(two_rows(-0.01, DOWN)[0]) == '\N{MINUS SIGN}1.00 (seed 1)'


def test_verdicts_are_counted_where_several_methods_are_compared():
    rows = two_rows(0.02, UP, UP)
    assert 'Against hsonet_lite' not in wording.said(rows, 'hsonet_lite', None)
    three = [*rows, two_rows(0.02, WIDE, UP)[0], two_rows(0.02, UP)[0]]
    text = wording.said(three, 'hsonet_lite', None)
    assert (
        '1 significantly better, 1 better (significant over images, not over seeds), 1 not significant ('
        in text
    )


@pytest.mark.parametrize(
    ('planned', 'done', 'failed', 'said'),
    [
        (3, 3, 0, '3'), (3, 1, 0, '1 of 3'), (3, 2, 1, '2 of 3, 1 failed'), (3, 0, 1, '0 of 3, 1 failed'),
        (3, 0, 3, 'all 3 failed'), (1, 0, 1, 'failed'), (3, 0, 0, 'no run yet'),
    ],
)  # fmt: skip
def test_seeds_in_words(planned, done, failed, said):
    row = Standing(CELL, 'tinycd', planned, tuple(range(done)), tuple(range(done, done + failed)))
    assert wording.seeds(row) == said


def test_a_guess_is_told_and_who_is_no_better():
    """Calling everything changed has recall 1 and a precision of the share of changed pixels."""
    rows = two_rows(-0.6, (-0.7, -0.5), first='hsonet_lite')  # F1 0.8 and 0.2
    for share, below in ((0.1, ''), (0.125, '; not above it: tinycd')):
        guess = 100 * 2 * share / (share + 1)
        assert wording.said(rows, 'hsonet_lite', share).endswith(f'F1 {guess:.2f}{below}.')


def test_the_share_of_changed_pixels_is_that_of_the_labels(board):
    share = np.mean([label.mean() for label in board.labels.values()])  # all of one size
    assert records_of(board).changed_share(CELL) == pytest.approx(share)
    text = (board.out / 'report.md').read_text()
    assert text.count(f'scores F1 {200 * share / (1 + share):.2f}') == 2
    assert 'Predicting every pixel as changed scores' in (board.out / 'index.html').read_text()
    assert records_of(board).changed_share(CELL._replace(test_set='other')) is None


def test_plots_follow_the_page_and_show_what_is_there(board):
    text = (board.out / 'index.html').read_text()
    plots = re.findall(r'<svg.*?</svg>', text, flags=re.DOTALL)
    labels = [re.search(r'aria-label="([^"]*)"', plot)[1] for plot in plots]
    own = ['F1 against GMACs a pair at 256 x 256', 'F1 against latency of a pair, ms', 'precision-recall curves',
           'F1 on the validation split over the training', 'shares of the gradient of hsonet_lite']  # fmt: skip
    assert labels == [*own, *own]
    for plot in plots:
        assert 'currentColor' in plot
        assert '#123456' not in plot
        assert '<metadata' not in plot
        ids = re.findall(r' id="([^"]*)"', plot)
        assert len(ids) == len(set(ids))
    for method in SKILLS:
        assert all(f'>{method}<' in plot for plot in plots[:4])
    looks = styles(f'method {index}' for index in range(56))
    assert len(set(looks.values())) == 56


@pytest.mark.parametrize(
    'latencies', [(100, 118, 176), (3, 5), (0.9, 80), (7, 7.0001), (12,), (0.06, 0.07), (0.8, 2000), (2, 5e6)]
)
def test_latency_plot_has_readable_ticks(latencies):
    """Three to ten plain numbers, no two alike, within what the axis shows."""
    rows = [
        Standing(
            CELL, f'm{index}', 1, figures={'f1': Spread(0.5, None)}, costs={'latency_ms': Spread(one, None)}
        )
        for index, one in enumerate(latencies)
    ]
    plot = cost_plot(rows, 'latency_ms', styles(row.method for row in rows))
    axis = plot[: plot.index('>latency of a pair')]
    ticks = [float(text) for text in re.findall(r'<text[^>]*>([\d.e+]+)</text>', axis)]
    assert 3 <= len(ticks) <= 10
    assert ticks == sorted(set(ticks))
    assert min(latencies) / 2 < ticks[-1]
    assert ticks[0] < 2 * max(latencies)
