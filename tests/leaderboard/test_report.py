"""The report of a leaderboard: its page, its Markdown file and its table hold the same figures."""

import csv
import io
import re
import sys

import pytest

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import Page, score_tables, shown_tables, signed, small, tables_of

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.board import Cell
from hsonet_mm.leaderboard.records import COLUMNS
from hsonet_mm.leaderboard.report import write_report

pytestmark = pytest.mark.any_host


# -- the page
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


def test_two_builds_are_equal(board):
    before = {name: (board.out / name).read_bytes() for name in ('index.html', 'report.md', 'summary.csv')}
    write_report(board.out)
    assert before == {name: (board.out / name).read_bytes() for name in before}
    assert not list(board.out.glob('.*'))


# -- small and broken leaderboards
def test_one_method_and_one_seed(tmp_path):
    text = write_report(small(tmp_path).write()).read_text()
    assert 'Best: hsonet_lite, F1' in text
    assert re.search(r'\d ± \N{EN DASH}', text)
    assert 'probs/demo of the runs are not there' in text


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


def test_a_lost_reference_is_named(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd', 'ussfc_net'))
    fake.drop('hsonet_lite')
    text = write_report(fake.write()).read_text()
    assert 'The reference hsonet_lite has no result' in text


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
