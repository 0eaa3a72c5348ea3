"""Made-up leaderboards without a training, and what reads their files and pages."""

import csv
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import yaml

from hsonet_mm.evaluation.breakdown import breakdown, sum_groups
from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.evaluation.object_report import object_groups, object_metrics
from hsonet_mm.evaluation.objects import join, match_objects
from hsonet_mm.leaderboard.board import Cell, read_records
from hsonet_mm.leaderboard.records import COLUMNS, Run, read
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.leaderboard.summary import summarise

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


def signed(value):
    return f'{100 * value:+.2f}'.replace('-', '\N{MINUS SIGN}')


def shown_tables(board):
    """The tables as they follow each other on the page: the threshold of val first, whole images first."""
    order = [('whole', 'val'), ('whole', 'half'), ('tiles_256', 'val'), ('tiles_256', 'half')]
    return [
        tables_of(board)[Cell(block, 'demo', 'demo', *how)]
        for block in ('from scratch', 'ImageNet weights')
        for how in order
    ]


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


def small(tmp_path, methods=('hsonet_lite',), seeds=(0,), labels=None):
    return Fake(
        tmp_path,
        labels or make_labels(4, 32),
        {'from scratch': {name: SKILLS[name] for name in methods}},
        seeds,
    )
