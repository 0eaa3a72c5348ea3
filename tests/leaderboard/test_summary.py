"""The rows of the tables: figures and costs over seeds against the files of a made-up leaderboard."""

import csv
import io
import statistics

import cv2
import numpy as np
import pytest

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import (
    CELL,
    SKILLS,
    T1,
    T2,
    TABLE,
    Page,
    markdown_tables,
    results,
    shown_tables,
    small,
    tables_of,
)

from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.records import read
from hsonet_mm.leaderboard.report import write_report
from hsonet_mm.leaderboard.summary import COSTS, FIGURES

sklearn = pytest.importorskip('sklearn.metrics')
pytestmark = pytest.mark.any_host


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


def test_openings_without_a_row_are_counted(tmp_path):
    fake = small(tmp_path)
    for row in fake.tables['results']:
        row['openings'] = 3 if row['split'] == 'test' else ''
    text = write_report(fake.write()).read_text()
    assert tables_of(fake)[CELL][0].scorings == 3
    assert 'scored on the test split up to 3 times' in text


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


def test_what_was_not_measured_is_a_dash(tmp_path):
    fake = small(tmp_path)
    for row in fake.tables['results']:
        row |= {'latency_ms': '', 'macs': '', 'device': ''}
    page = Page(write_report(fake.write()))
    (cost,) = (table for table in page.tables if 'GMACs' in table[0])
    assert cost[1][3:5] == [wording.NONE, wording.NONE]
