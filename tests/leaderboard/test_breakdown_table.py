"""Where the methods fail: the tables against the counts."""

import math

import pytest

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import CELL, SKILLS, Page, markdown_tables, records_of, small, tables_of

from hsonet_mm.leaderboard.breakdown_table import breakdown_tables
from hsonet_mm.leaderboard.records import read
from hsonet_mm.leaderboard.report import write_report

pytestmark = pytest.mark.any_host


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
