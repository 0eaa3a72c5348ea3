"""The report of a leaderboard: every figure against an oracle, on made-up predictions of a made-up data set."""

import csv
import io
import math
import re
import statistics
import sys
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import yaml
from scipy import stats
from sklearn.metrics import f1_score

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.breakdown import breakdown, sum_groups
from hsonet_mm.leaderboard import gallery as pictures
from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.board import Cell, read_records
from hsonet_mm.leaderboard.bootstrap import Comparison, common_images, mean_f1, paired_bootstrap
from hsonet_mm.leaderboard.breakdown_table import breakdown_tables
from hsonet_mm.leaderboard.plots import styles
from hsonet_mm.leaderboard.published import read_published
from hsonet_mm.leaderboard.records import COLUMNS, read
from hsonet_mm.leaderboard.report import write_report
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.leaderboard.summary import summarise

T1, T2 = '2026-01-01T10:00:00.000Z', '2026-01-02T10:00:00.000Z'
SKILLS = {'hsonet_lite': 1.0, 'ussfc_net': 0.75, 'tinycd': 0.5}


class Fake:
    """A leaderboard without a training: probabilities are labels, blurred and noisy; the rest is counted.

    Args:
        out: Its folder.
        labels: Label of every test image by name, bool (H, W).
        blocks: Methods and their skills by block; the first method is the reference.
    """

    def __init__(self, out, labels, blocks, seeds=(0, 1, 2), data_set='demo', root='nowhere', dates=None):
        self.out, self.labels, self.data_set, self.dates = out, labels, data_set, dates
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
            'harness_seconds': 1, 'latency_ms': 5 * cost + seed / 10, 'throughput': 200 / cost,
            'peak_memory_mib': 500, 'device': 'CPU, 2 threads', 'commit': 'abc1234', 'config_hash': 'f00',
            'status': 'ok',
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
                for name, one in stored.items():
                    counts = self.count(one > limit, self.labels[name])
                    self.add(
                        'images',
                        key,
                        protocol=protocol,
                        threshold_rule=rule,
                        image=name,
                        **self.named(counts),
                    )
                    total += counts
                for split in ('val', 'test'):
                    self.add(
                        'results', key, split=split, protocol=protocol, threshold_rule=rule, threshold=limit,
                        images=len(probs), pixels=total.sum(), **common, **self.figures(*total),
                    )  # fmt: skip
        for rule, limit in (('half', 0.5), ('val', threshold)):
            for group in sum_groups(
                breakdown(one > limit, self.labels[name].astype(np.uint8)) for name, one in probs.items()
            ):
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
            self.add('training', key, iteration=step, val_f1=0.5 * skill * step / 300 + rng.normal(0, 0.01))
        folder = read_spec(self.out / 'spec.yaml')
        slug = next(one.slug for one in folder.blocks if one.name == block)
        for name, one in probs.items():
            path = (
                self.out
                / 'runs'
                / self.data_set
                / slug
                / method
                / f'seed{seed}'
                / 'probs'
                / self.data_set
                / f'{name}.png'
            )
            if self.dates:
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), (255 * one).round().astype(np.uint8))

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

    def fail(self, block, method, seed, sentence, scored_at=T2):
        key = {
            'block': block,
            'method': method,
            'data_set': self.data_set,
            'seed': seed,
            'scored_at': scored_at,
        }
        self.add('results', key, status=f'failed: {sentence}')

    def drop(self, method):
        for name, rows in self.tables.items():
            self.tables[name] = [row for row in rows if row['method'] != method]

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


TABLE = {'split': 'test', 'protocol': 'whole', 'threshold_rule': 'val'}
CELL = Cell('from scratch', 'demo', 'demo', 'whole', 'val')


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
        return [table for table in self.tables if 'decided?' in table[0]]


# -- the bootstrap
def draw(rng, images, recall, alarms=0.02):
    """tp, fp, fn of independent images of one method, (images, 3)."""
    changed = rng.integers(50, 500, images)
    tp = rng.binomial(changed, np.clip(rng.normal(recall, 0.1, images), 0, 1))
    return np.stack([tp, rng.binomial(4000, alarms, images), changed - tp], 1)


def test_identical_methods_are_not_decided():
    counts = draw(np.random.default_rng(0), 40, 0.8)[None]
    assert paired_bootstrap(counts, counts) == Comparison(0.0, 0.0, 0.0, 0.0, 40)
    assert paired_bootstrap(counts, counts).verdict == 'not decided'


def test_same_images_leave_no_spread():
    better, worse = (np.tile([tp, 10, 100 - tp], (1, 9, 1)) for tp in (90, 80))
    gap = 180 / (180 + 20) - 160 / (160 + 30)
    found = paired_bootstrap(better, worse)
    assert [found.difference, found.low, found.high] == pytest.approx([gap] * 3, abs=1e-15)
    assert (found.share_above, found.verdict, found.decided) == (1.0, 'better', True)
    assert paired_bootstrap(worse, better).verdict == 'worse'


def test_pairs_are_resampled_together():
    """Images of very different difficulty, one method always a little better: unpaired, that would drown."""
    fn = np.linspace(5, 95, 30).astype(int)
    reference = np.stack([100 - fn, fn * 0, fn], 1)[None]
    method = reference + np.array([1, 0, -1])
    found = paired_bootstrap(method, reference)
    assert found.verdict == 'better'
    assert found.high - found.low < 0.01


def test_interval_equals_normal_approximation():
    rng = np.random.default_rng(1)
    method, reference = (draw(rng, 600, recall)[None] for recall in (0.8, 0.78))

    def influence(counts):
        top, bottom = 2 * counts[0, :, 0], counts[0] @ [2, 1, 1]
        return (top - top.sum() / bottom.sum() * bottom) / bottom.mean()

    deltas = influence(method) - influence(reference)
    error = deltas.std(ddof=1) / math.sqrt(600)
    found = paired_bootstrap(method, reference)
    assert found.difference == pytest.approx(float(mean_f1(method.sum(1)) - mean_f1(reference.sum(1))))
    assert found.low == pytest.approx(found.difference - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.difference + 1.96 * error, abs=0.1 * error)


def test_interval_equals_scipy_with_unequal_seeds():
    rng = np.random.default_rng(2)
    method = np.stack([draw(rng, 60, 0.8) for _ in range(2)])
    reference = np.stack([draw(rng, 60, 0.78) for _ in range(3)])

    def statistic(index):
        return float(mean_f1(method[:, index].sum(1)) - mean_f1(reference[:, index].sum(1)))

    oracle = stats.bootstrap(
        (np.arange(60),), statistic, n_resamples=4000, vectorized=False, method='percentile', rng=rng
    )  # fmt: skip
    found = paired_bootstrap(method, reference)
    width = found.high - found.low
    assert found.low == pytest.approx(oracle.confidence_interval.low, abs=0.06 * width)
    assert found.high == pytest.approx(oracle.confidence_interval.high, abs=0.06 * width)


def test_interval_covers_the_truth():
    rng = np.random.default_rng(3)
    crowd = [draw(rng, 20_000, recall) for recall in (0.8, 0.79)]
    truth = float(np.subtract(*(mean_f1(counts[None].sum(1)) for counts in crowd)))
    inside = 0
    for _ in range(200):
        drawn = rng.integers(0, 20_000, 80)
        found = paired_bootstrap(*(counts[None, drawn] for counts in crowd), resamples=400)
        inside += found.low <= truth <= found.high
    assert 0.89 <= inside / 200 <= 0.99


def test_bootstrap_is_deterministic_and_says_what_it_lacks():
    rng = np.random.default_rng(4)
    method, reference = draw(rng, 20, 0.8)[None], draw(rng, 20, 0.7)[None]
    assert paired_bootstrap(method, reference) == paired_bootstrap(method, reference)
    assert paired_bootstrap(method, reference, seed=1) != paired_bootstrap(method, reference)
    one = paired_bootstrap(method[:, :1], reference[:, :1])
    assert one.images == 1
    assert math.isnan(one.low)
    assert one.verdict == 'not decided'
    assert wording.interval(one) == 'fewer than two images in common'
    assert math.isnan(paired_bootstrap(method[:, :0], reference[:, :0]).difference)
    empty = np.zeros((1, 3, 3), np.int64)
    assert paired_bootstrap(empty, empty).difference == 0  # F1 of 0 / 0 is 0


def test_only_images_that_all_seeds_share_count():
    method = {1: {'b': (2, 0, 0), 'a': (1, 0, 0)}, 0: {'a': (3, 0, 0), 'b': (4, 0, 0), 'c': (9, 9, 9)}}
    reference = {5: {'b': (6, 0, 0), 'a': (5, 0, 0), 'd': (9, 9, 9)}}
    ours, theirs, names = common_images(method, reference)
    assert names == ('a', 'b')
    assert ours[..., 0].tolist() == [[3, 4], [1, 2]]
    assert theirs[..., 0].tolist() == [[5, 6]]
    assert common_images({}, {})[0].shape == (0, 0, 3)


# -- the summary
def test_rows_equal_the_results_file(board):
    tables = summarise(read_spec(board.out / 'spec.yaml'), read_records(board.out))
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
            for name in (
                'precision',
                'recall',
                'f1',
                'iou',
                'oa',
                'kappa',
                'threshold',
                'latency_ms',
                'macs',
            ):
                values = [float(line[name]) for line in lines]
                found = (row.figures | row.costs)[name]
                assert found.mean == pytest.approx(statistics.mean(values))
                assert found.std == pytest.approx(statistics.stdev(values))
            assert row.scorings == (2 if row.method == 'ussfc_net' else 1)
            assert row.is_reference == (row.method == 'hsonet_lite')


def test_difference_equals_that_of_the_means_and_scikit_learn(board):
    rows = {
        row.method: row
        for row in summarise(read_spec(board.out / 'spec.yaml'), read_records(board.out))[CELL]
    }
    for method in ('ussfc_net', 'tinycd'):
        gap = rows[method].figures['f1'].mean - rows['hsonet_lite'].figures['f1'].mean
        assert rows[method].comparison.difference == pytest.approx(gap, abs=1e-12)
        assert rows[method].comparison.images == len(board.labels)
        assert rows[method].comparison.low <= gap <= rows[method].comparison.high
    assert rows['hsonet_lite'].comparison is None
    folder = board.out / 'runs/demo/from-scratch/hsonet_lite/seed0/probs/demo'
    (line,) = results(board, block='from scratch', method='hsonet_lite', seed='0', **TABLE)
    pred = [
        cv2.imread(str(folder / f'{name}.png'), 0).ravel() > 255 * float(line['threshold'])
        for name in board.labels
    ]
    truth = [label.ravel() for label in board.labels.values()]
    assert float(line['f1']) == pytest.approx(f1_score(np.concatenate(truth), np.concatenate(pred)))


def test_blocks_are_never_mixed(board):
    tables = summarise(read_spec(board.out / 'spec.yaml'), read_records(board.out))
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
def test_page_shows_the_figures_of_the_csv(board):
    page = Page(board.out / 'index.html')
    tables = page.score_tables()
    assert len(tables) == 8
    heads = tables[0][0]
    spec, records = read_spec(board.out / 'spec.yaml'), read_records(board.out)
    for line, row in zip(tables[0][1:], summarise(spec, records)[CELL], strict=True):
        shown = dict(zip([*heads[:5], 'drawn', *heads[5:]], line, strict=True))
        assert shown['method'] == row.method
        for head, name in zip(('P', 'R', 'F1', 'IoU', 'OA', 'kappa'), list(row.figures), strict=False):
            mean, std = row.figures[name]
            assert shown[head] == f'{100 * mean:.2f} ± {100 * std:.2f}'
        if row.comparison:
            assert shown['difference'] == wording.difference(row.comparison)
            assert f'{100 * row.comparison.low:+.2f}'.replace('-', '\N{MINUS SIGN}') in line[4]
            assert line[6] == row.comparison.verdict
    assert 'Best is the reference hsonet_lite' in (board.out / 'index.html').read_text()


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
    assert line[1] == '2, 1 failed'
    assert ['from scratch', 'tinycd', 'demo', '2', 'the loss is <NaN> | stop'] in [
        row for table in page.tables for row in table
    ]
    (line,) = (line for line in page.score_tables()[0] if line[0] == 'ussfc_net')
    assert line[-1] == '2 \N{MULTIPLICATION SIGN}'
    text = (board.out / 'index.html').read_text()
    assert 'scored on the test split up to 2 times' in text
    assert '1 run failed' in text


def test_markdown_and_csv_hold_the_same_rows(board):
    tables = summarise(read_spec(board.out / 'spec.yaml'), read_records(board.out))
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
        assert f'| {wording.percent(row.figures["f1"])} |' in markdown
    for block in ('from scratch', 'ImageNet weights'):
        assert f'## Block: {block} (reference hsonet\\_lite)' in markdown


def test_two_builds_are_equal(board):
    before = {name: (board.out / name).read_bytes() for name in ('index.html', 'report.md', 'summary.csv')}
    write_report(board.out)
    assert before == {name: (board.out / name).read_bytes() for name in before}
    assert not list(board.out.glob('.*'))


def test_breakdown_equals_the_counts(board):
    methods = ['tinycd', 'hsonet_lite', 'unet_r18']  # the last is of the other block
    tables = breakdown_tables(read_records(board.out).of(CELL), methods, 'val')
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
        assert [name for name, _ in table.rows] == methods[:2]
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
            if abs(ours.value - theirs.value) > 0.1:
                assert ours.best == ((ours.value > theirs.value) == table.changed)
                assert theirs.best != ours.best
    boundary = tables[2].rows[1][1][0].value
    assert f'>{100 * boundary:.1f}</td>' in text


def test_published_figures_stand_apart_with_their_notes(board):
    text = (board.out / 'index.html').read_text()
    assert 'Not comparable with ours' in text
    assert '91.04 (P 89.7, R 92.42)' in text
    assert 'Best epoch chosen on the test set' in text
    assert text.index('id="failed"') < text.index('91.04 (P')  # not in a table of ours


def test_published_figures_are_consistent():
    entries = read_published()
    assert len({(entry.method, entry.data_set) for entry in entries}) == len(entries) >= 45
    for entry in entries:
        assert 0 < entry.f1[0] <= entry.f1[1] < 100
        assert entry.protocol
        assert entry.source
        if entry.iou:  # IoU = F1 / (2 - F1)
            assert entry.iou[0] == pytest.approx(100 * entry.f1[0] / (200 - entry.f1[0]), abs=0.15)
        if entry.precision:
            harmonic = 2 * entry.precision * entry.recall / (entry.precision + entry.recall)
            assert entry.f1[0] == pytest.approx(harmonic, abs=0.01)
    (ussfc,) = (entry for entry in entries if (entry.method, entry.data_set) == ('ussfc_net', 'LEVIR-CD'))
    for trap in ('test set', 'swaps precision and recall', '6,912 of 43,200'):
        assert trap in ussfc.footnote
    assert 'not the official split' in ussfc.protocol


# -- pictures
def test_worst_and_disputed_images_are_the_right_ones(board):
    spec, records = read_spec(board.out / 'spec.yaml'), read_records(board.out)
    rows = summarise(spec, records)[CELL]
    album = pictures.gallery(board.out, spec, records.of(CELL), CELL, rows)
    assert album.missing == ''
    masks = {}
    for row in rows:
        seed = row.seeds[0]
        where = {'block': 'from scratch', 'method': row.method, 'seed': str(seed), **TABLE}
        (line,) = (one for one in records.results if all(one[name] == value for name, value in where.items()))
        folder = board.out / f'runs/demo/from-scratch/{row.method}/seed{seed}/probs/demo'
        for name in board.labels:
            masks[row.method, name] = cv2.imread(str(folder / f'{name}.png'), 0) > 255 * float(
                line['threshold']
            )
        scores = {
            name: f1_score(label.ravel(), masks[row.method, name].ravel())
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
    spec, records = read_spec(board.out / 'spec.yaml'), read_records(board.out)
    rows = summarise(spec, records)[CELL]

    def missing(out=board.out, data=spec.data):
        return pictures.gallery(
            out, spec.__class__(**{**vars(spec), 'data': data}), records.of(CELL), CELL, rows
        )

    assert 'probs/demo of the runs are not there' in missing(out=tmp_path).missing
    assert f'are not at {tmp_path}' in missing(data={'demo': str(tmp_path)}).missing
    assert 'no data root' in missing(data={'demo': '${NO_SUCH_ROOT}'}).missing
    assert 'no data root' in missing(data={}).missing
    for part in ('A', 'B', 'label'):
        (tmp_path / 'test' / part).mkdir(parents=True)
        for name in board.labels:
            cv2.imwrite(str(tmp_path / 'test' / part / f'{name}.png'), np.zeros((20, 20), np.uint8))
    assert 'differ in size' in missing(data={'demo': str(tmp_path)}).missing
    for path in (tmp_path / 'test/label').iterdir():
        path.write_bytes(b'no image')
    assert 'missing or no image' in missing(data={'demo': str(tmp_path)}).missing


def test_a_method_without_probabilities_is_named(tmp_path, board):
    spec, records = read_spec(board.out / 'spec.yaml'), read_records(board.out)
    rows = summarise(spec, records)[CELL]
    folder = tmp_path / 'runs/demo/from-scratch/hsonet_lite'
    folder.parent.mkdir(parents=True)
    folder.symlink_to(board.out / 'runs/demo/from-scratch/hsonet_lite')
    album = pictures.gallery(tmp_path, spec, records.of(CELL), CELL, rows)
    assert album.disputed == []
    assert [method for method, _ in album.worst] == ['hsonet_lite']
    assert album.missing == 'there are no probabilities of ussfc_net, tinycd'


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
    assert 'Only the reference hsonet_lite has a result' in text
    assert re.search(r'\d ± \N{EN DASH}', text)
    assert 'probs/demo of the runs are not there' in text


def test_one_seed_is_said_to_tell_nothing_of_another_training(tmp_path):
    text = write_report(small(tmp_path, ('hsonet_lite', 'tinycd')).write()).read_text()
    assert 'With one seed nothing is known' in text


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
    assert ('cannot be compared' in whole or 'no counts by image' in whole) == (table == 'images')


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
    assert '3 runs failed' in text


def test_a_lost_reference_is_named(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd', 'ussfc_net'))
    fake.drop('hsonet_lite')
    text = write_report(fake.write()).read_text()
    assert 'The reference hsonet_lite has no result, so no difference is told' in text


def test_a_run_that_recovered_has_not_failed(tmp_path):
    fake = small(tmp_path)
    fake.fail('from scratch', 'hsonet_lite', 0, 'killed', scored_at='2025-12-31T00:00:00.000Z')
    records = read_records(fake.write())
    assert records.failures == ()
    assert records.results
    fake.fail('from scratch', 'hsonet_lite', 0, '', scored_at=T2)
    records = read_records(fake.write())
    assert [failure.sentence for failure in records.failures] == ['no reason was given']
    assert records.results == records.images == records.training == ()


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
    with pytest.raises(UserError, match="'many' where a figure belongs"):
        write_report(fake.write())


@pytest.mark.parametrize('package', ['matplotlib', 'jinja2'])
def test_missing_package_names_the_extra(tmp_path, monkeypatch, package):
    out = small(tmp_path).write()
    for name in [name for name in sys.modules if name.split('.')[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UserError, match=rf'{package}, which is not installed: pip install "hsonet_mm\[leaderboard\]"'
    ):
        write_report(out)
    assert not (out / 'index.html').exists()


# -- words and plots
def rows_of(gap, low, high, stds=(0.001, 0.001), first='tinycd'):
    """Two rows, the reference and a method, best first."""
    from hsonet_mm.leaderboard.summary import Row, Spread

    reference = Row(
        CELL, 'hsonet_lite', seeds=(0, 1), figures={'f1': Spread(0.8, stds[0])}, is_reference=True
    )
    comparison = Comparison(gap, low, high, 0.5, 30)
    method = Row(
        CELL, 'tinycd', seeds=(0, 1), figures={'f1': Spread(0.8 + gap, stds[1])}, comparison=comparison
    )
    return [method, reference] if first == 'tinycd' else [reference, method]


@pytest.mark.parametrize(
    ('rows', 'said'),
    [
        (rows_of(0.02, 0.01, 0.03), ['Best is tinycd', '2.00 points above the ref', '+1.00 to +3.00', ': decided']),
        (rows_of(0.02, -0.01, 0.03), ['\N{MINUS SIGN}1.00 to +3.00', ': not decided']),
        (
            rows_of(-0.02, -0.03, -0.01, first='hsonet_lite'),
            ['Best is the reference', 'Next is tinycd', '2.00 points below it', ': decided'],
        ),
        (rows_of(0.02, 0.01, 0.03, (0.02, 0.01)), [': decided', 'from training to training', '1.58 points']),
        (rows_of(0.02, 0.01, 0.03, (None, 0.01)), ['With one seed nothing is known']),
        (rows_of(0.02, math.nan, math.nan), ['fewer than two images in common that cannot be decided']),
    ],
)  # fmt: skip
def test_verdict_in_words(rows, said):
    text = wording.said(rows, 'hsonet_lite', None)
    for part in said:
        assert part in text


def test_numbers_in_words():
    from hsonet_mm.leaderboard.summary import Spread

    assert wording.percent(Spread(0.8421, 0.0035)) == '84.21 ± 0.35'
    assert wording.percent(Spread(0.8421, None)) == '84.21 ± \N{EN DASH}'
    assert wording.percent(None) == wording.NONE
    assert wording.difference(Comparison(-0.000001, 0, 0, 0, 2)) == '0.00'
    assert 'of 1 method' not in wording.said(rows_of(0.02, 0.01, 0.03), 'hsonet_lite', None)
    three = [*rows_of(0.02, 0.01, 0.03), *rows_of(0.02, -0.01, 0.03)]
    text = wording.said(three, 'hsonet_lite', None)
    assert text.endswith('Against the reference, of 2 methods: 1 better, 1 not decided.')


def test_a_guess_is_told_and_who_is_no_better():
    rows = rows_of(-0.6, -0.7, -0.5, first='hsonet_lite')  # F1 0.8 and 0.2
    assert wording.said(rows, 'hsonet_lite', 0.1).endswith(
        'Calling every pixel changed would score F1 18.18 here.'
    )
    assert wording.said(rows, 'hsonet_lite', 0.125).endswith('score F1 22.22 here; not above it: tinycd.')


def test_the_share_of_changed_pixels_is_that_of_the_labels(board):
    share = np.mean([label.mean() for label in board.labels.values()])  # all of one size
    assert read_records(board.out).changed_share(CELL) == pytest.approx(share)
    text = (board.out / 'report.md').read_text()
    assert text.count(f'would score F1 {200 * share / (1 + share):.2f} here') == 2
    assert 'would score' in (board.out / 'index.html').read_text()
    assert read_records(board.out).changed_share(CELL._replace(test_set='other')) is None


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
