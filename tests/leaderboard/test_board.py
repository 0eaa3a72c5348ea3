"""What is ranked: the runs of the spec, of one config and budget, and what is told of the others."""

import csv
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import CELL, T2, Page, records_of, score_tables, small, tables_of

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.confusion import Confusion
from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.board import Cell, read_records, rows_of
from hsonet_mm.leaderboard.report import write_report
from hsonet_mm.leaderboard.spec_file import read_spec

pytestmark = pytest.mark.any_host


BOARDS = Path(__file__).parents[2] / 'docs/leaderboards'


def test_a_failure_counts_once_on_however_many_test_sets(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'))
    spec = yaml.safe_load((tmp_path / 'spec.yaml').read_text())
    (tmp_path / 'spec.yaml').write_text(yaml.safe_dump({**spec, 'also_test': {'other': 'nowhere'}}))
    for test_set in ('demo', 'other'):
        fake.fail('from scratch', 'hsonet_lite', 0, 'killed', test_set=test_set)
    fake.write()
    assert list(records_of(fake).failures.values()) == ['killed']


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
    assert left(tmp_path) == '6 scorings not in the spec'  # 2 of seed 0, 3 of ussfc_net, 1 of the other split
    assert '- left out: 6 scorings not in the spec\n' in (tmp_path / 'report.md').read_text()
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


def test_a_table_is_of_one_number_of_iterations(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0, 1))
    for row in fake.tables['results']:
        if (row['method'], row['seed']) == ('tinycd', 1):
            row |= {'iterations': 600, 'scored_at': T2}
    write_report(fake.write())
    (row,) = (row for row in tables_of(fake)[CELL] if row.method == 'tinycd')
    assert row.seeds == (0,)
    assert left(tmp_path) == '1 scoring after another number of iterations'


def test_the_share_of_changed_pixels_is_that_of_the_labels(board):
    share = np.mean([label.mean() for label in board.labels.values()])  # all of one size
    assert records_of(board).changed_share(CELL) == pytest.approx(share)
    text = (board.out / 'report.md').read_text()
    assert text.count(f'scores F1 {200 * share / (1 + share):.2f}') == 2
    assert 'Predicting every pixel as changed scores' in (board.out / 'index.html').read_text()
    assert records_of(board).changed_share(CELL._replace(test_set='other')) is None
