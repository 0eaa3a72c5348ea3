"""A run of a leaderboard in its process: what it writes, and what happens when things go wrong."""

import csv
import re
from collections import Counter

import pytest
import torch
import yaml

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from leaderboard_runs import (
    best_checkpoint,
    best_model,
    first_job,
    leaderboard,
    one_method,
    rows_of,
    run_folder,
)

from hsonet_mm.evaluation.change_metric import ChangeMetric
from hsonet_mm.leaderboard import records, scoring
from hsonet_mm.leaderboard import run as runs
from hsonet_mm.leaderboard.board import read_records
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.leaderboard.summary import summarise


def test_every_run_is_a_row(trained_board):
    out, code, lines = trained_board
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


def test_columns_are_the_contract(trained_board):
    for table, columns in records.COLUMNS.items():
        with (trained_board[0] / f'{table}.csv').open(encoding='utf-8', newline='') as file:
            assert tuple(next(csv.reader(file))) == columns
        assert columns[:5] == ('block', 'method', 'data_set', 'test_set', 'seed')
    stamps = {
        table: {row['scored_at'] for row in rows_of(trained_board[0], table, method='tiny')}
        for table in records.COLUMNS
    }
    assert all(len(times) == 2 for times in stamps.values())
    assert len(set.union(*stamps.values())) == 2


def f1(tp, fp, fn):
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def test_tables_agree_with_each_other(trained_board):
    out = trained_board[0]
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


def test_published_weights_are_scored_as_those_of_a_run(
    trained_board, hsonet, in_process, write_spec, tmp_path, monkeypatch
):
    """The file of a training, given as published: the same figures, no training, and one run whatever the seeds."""
    monkeypatch.setenv('PUBLISHED_WEIGHTS', str(best_checkpoint(trained_board[0])))
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
    ours = rows_of(trained_board[0], 'results', method='tiny', data_set='houses')
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
    torch.save(
        {key: weight + 0.01 for key, weight in best_model(trained_board[0]).state_dict().items()}, other
    )
    monkeypatch.setenv('PUBLISHED_WEIGHTS', str(other))
    assert leaderboard(hsonet, path, out, '--dry-run')[1].startswith('1 run, done before: 0')


def test_training_is_logged(trained_board):
    rows = rows_of(trained_board[0], 'training', method='tiny', data_set='houses')
    assert [row['iteration'] for row in rows] == ['1', '2', '3', '4']
    assert all(float(row['loss']) > 0 for row in rows)
    assert rows[0]['eo_zeta'] == '1.0'
    assert [bool(row['val_f1']) for row in rows] == [False, True, False, True]
    assert [bool(row['val_best_f1']) for row in rows] == [False, True, False, True]
    best = max((row for row in rows if row['val_f1']), key=lambda row: float(row['val_best_f1']))
    for rule, column in (('half', 'val_f1'), ('val', 'val_best_f1')):
        (val,) = rows_of(
            trained_board[0], 'results', method='tiny', data_set='houses', split='val', threshold_rule=rule
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


def test_report_takes_the_tables(trained_board):
    pytest.importorskip('matplotlib')
    from hsonet_mm.leaderboard import report

    text = report.write_report(trained_board[0]).read_text(encoding='utf-8')
    assert 'tiny' in text
    assert 'gone wrong' in text
    assert 'data:image/jpeg' in text


def test_data_are_named_and_openings_counted(trained_board):
    """Every row tells which files it is of, and a row of test how often the run opened that split."""
    rows = rows_of(trained_board[0], 'results', status='ok')
    hashes = {(row['test_set'], row['data_hash']) for row in rows}
    assert len(hashes) == len({data_hash for _, data_hash in hashes}) == 2
    assert all(re.fullmatch('[0-9a-f]{12}', data_hash) for _, data_hash in hashes)
    assert {(row['split'], row['openings']) for row in rows} == {('val', ''), ('test', '1')}
    for row in rows_of(trained_board[0], 'results', method='broken'):
        assert (row['data_set'], row['data_hash']) in hashes
        assert row['openings'] == '0'


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
def test_checkpoints_that_cannot_be_removed_fail_no_run(tmp_path):
    (tmp_path / 'iter_2.pth').mkdir()
    runs.forget_checkpoints(tmp_path)
    assert (tmp_path / 'iter_2.pth').exists()


@pytest.mark.any_host
def test_log_of_a_killed_training_is_read(tmp_path):
    for name, lines in {
        '1': '{"loss": 3, "step": 1}\n{"loss": 2, "step": 2}\n{"loss": 1, "st',
        '2': '{"changed/f1": 0.5, "changed/best_f1": 0.75, "step": 2}\n{"loss": 1.5, "eo_Z": 2, "lr": 1, "step": 3}\n',
    }.items():
        (tmp_path / name / 'vis_data').mkdir(parents=True)
        (tmp_path / name / 'vis_data/scalars.json').write_text(lines)
    assert runs.training_log(tmp_path) == [
        {'iteration': 1, 'loss': 3},
        {'iteration': 2, 'loss': 2, 'val_f1': 0.5, 'val_best_f1': 0.75},
        {'iteration': 3, 'loss': 1.5, 'eo_Z': 2},
    ]


@pytest.mark.any_host
def test_version_where_there_is_no_checkout(monkeypatch):
    def fail(*_, **__):
        raise OSError('no git')

    monkeypatch.setattr(runs.subprocess, 'run', fail)
    assert re.fullmatch(r'version \d+\.\d+.*', runs.code_version())
