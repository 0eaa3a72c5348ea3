"""The tables of a leaderboard: how scorings are added, damage is told, and old tables are read."""

import csv

import pytest

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard import records

pytestmark = pytest.mark.any_host


def row_of(method='a', seed=0, **more):
    return {'block': 'b', 'method': method, 'data_set': 'd', 'test_set': 'd', 'seed': seed, **more}


def test_tables_are_appended_to(tmp_path):
    folder = tmp_path / 'runs/d/b/a/seed0'
    records.write_part(folder, '2030-01-02T00:00:00.000Z', {'results': [row_of(f1=0.5, status='ok')]})
    records.gather(tmp_path)
    first = (tmp_path / 'results.csv').read_text()
    assert (tmp_path / 'images.csv').read_text().count('\n') == 1
    records.gather(tmp_path)
    assert (tmp_path / 'results.csv').read_text() == first
    records.write_part(folder, '2030-01-03T00:00:00.000Z', {'results': [row_of(f1=0.25, status='a, "b"')]})
    other = tmp_path / 'runs/d/b/c/seed1'
    records.write_part(
        other,
        '2030-01-01T00:00:00.000Z',
        {'results': [row_of('c', 1)], 'images': [row_of('c', 1, tp=1, fp=2, fn=3, tn=4)]},
    )
    (folder / 'parts/.half').mkdir()
    (folder / 'parts/.half/results.csv').write_text('block,met')
    records.gather(tmp_path)
    assert (tmp_path / 'results.csv').read_text().startswith(first)
    rows = records.read(tmp_path / 'results.csv')
    assert [(row['method'], row['f1'], row['status']) for row in rows] == [
        ('a', '0.5', 'ok'), ('c', '', ''), ('a', '0.25', 'a, "b"'),
    ]  # fmt: skip
    assert records.newest(rows) == rows[1:]
    assert len(records.read(tmp_path / 'images.csv')) == 1
    with pytest.raises(ValueError, match='unknown'):
        records.write_part(folder, records.now(), {'results': [row_of(unknown=1)]})


def scored(tmp_path):
    """A folder with one scoring, gathered; the path of its table of images."""
    counts = {'tp': 1, 'fp': 2, 'fn': 3, 'tn': 4}
    images = [row_of(image=name, **counts) for name in 'abc']
    part = {'results': [row_of(f1=0.5, status='ok')], 'images': images}
    records.write_part(tmp_path / 'runs/d/b/a/seed0', '2030-01-01T00:00:00.000Z', part)
    records.gather(tmp_path)
    return tmp_path / 'images.csv'


def test_lines_that_were_cut_off_are_gathered_again(tmp_path):
    path = scored(tmp_path)
    whole = path.read_text()
    path.write_text(''.join(whole.splitlines(keepends=True)[:-1]))
    records.gather(tmp_path)
    assert path.read_text() == whole


@pytest.mark.parametrize(
    ('damage', 'sentence'),
    [
        (lambda text: text[:-40], 'is damaged at line 4'),
        (lambda text: text.replace('d,d,0', 'd,d,zero', 1), 'is damaged at line 2'),
        (lambda text: text.replace(',1,2,3,4', ',1,2,much,4'), 'is damaged at line 2'),
        (lambda text: text.replace(',2030', ',5,2030', 1), 'is damaged at line 2'),
        (lambda text: text.replace('scored_at', 'scored_at,more', 1), 'is not a results table'),
        (lambda text: text.replace('b,a', 'b,\udcff', 1), 'is not a results table'),
    ],
)
def test_damaged_table_is_named(tmp_path, damage, sentence):
    path = scored(tmp_path)
    whole = path.read_text()
    assert damage(whole) != whole
    path.write_bytes(damage(whole).encode(errors='surrogateescape'))
    with pytest.raises(UserError, match=sentence):
        records.gather(tmp_path)


def test_table_of_an_older_version_is_read(tmp_path):
    """It lacks columns, which are empty; the next scoring adds them."""
    old = {name: '' for name in records.COLUMNS['results'] if name not in ('timed_on', 'data_hash')}
    with (tmp_path / 'results.csv').open('w', encoding='utf-8', newline='') as file:
        writer = csv.DictWriter(file, old)
        writer.writeheader()
        writer.writerow({**old, **row_of(), 'scored_at': '2030-01-01T00:00:00.000Z'})
    records.write_part(
        tmp_path / 'runs/d/b/a/seed1', '2030-01-02T00:00:00.000Z', {'results': [row_of(seed=1, timed_on='x')]}
    )
    assert [row['timed_on'] for row in records.read(tmp_path / 'results.csv')] == ['']
    records.gather(tmp_path)
    assert [row['timed_on'] for row in records.read(tmp_path / 'results.csv')] == ['', 'x']


def test_other_tables_are_left_alone(tmp_path):
    (tmp_path / 'results.csv').write_text('name,price\nbread,3\n')
    with pytest.raises(UserError, match=r'results\.csv is not a results table'):
        records.gather(tmp_path)
    assert (tmp_path / 'results.csv').read_text() == 'name,price\nbread,3\n'
