"""What the report says in words, and what it warns of."""

import math

import pytest

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import CELL, Page, small, tables_of

from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.comparison import Comparison, Interval
from hsonet_mm.leaderboard.report import write_report
from hsonet_mm.leaderboard.summary import Spread, Standing

pytestmark = pytest.mark.any_host


def test_one_seed_decides_nothing(tmp_path):
    out = small(tmp_path, ('hsonet_lite', 'tinycd')).write()
    text = write_report(out).read_text()
    assert 'over seeds: one seed): worse (significant over images, not over seeds).' in text
    assert 'class="verdict worse"' not in text
    (line,) = (line for line in Page(out / 'index.html').score_tables()[0] if line[0] == 'tinycd')
    assert line[6:8] == ['one seed', 'worse (significant over images, not over seeds)']


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
