"""The table of matched objects against the files of a made-up leaderboard."""

import csv
import io

import numpy as np
import pytest

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import SKILLS, Fake, make_labels, markdown_tables, signed, tables_of

from hsonet_mm.leaderboard.records import read
from hsonet_mm.leaderboard.report import write_report

pytestmark = pytest.mark.any_host


def test_objects_have_a_table_of_their_own(tmp_path):
    blocks = {'from scratch': SKILLS}
    fake = Fake(tmp_path, make_labels(8, 64), blocks, objects=True)
    page = write_report(fake.write()).read_text()
    (rows,) = (
        rows
        for cell, rows in tables_of(fake).items()
        if (cell.protocol, cell.threshold_rule) == ('whole', 'val')
    )
    (table,) = (one for one in markdown_tables((tmp_path / 'report.md').read_text()) if one[0][5:6] == ['AP'])
    heads, lines = table
    assert heads[:6] == ['method', 'seeds', 'P', 'R', 'F1', 'AP']
    summary = list(csv.DictReader(io.StringIO((tmp_path / 'summary.csv').read_text())))
    for row, line in zip(rows, lines, strict=True):
        results = [
            float(one['object_ap']) for one in read(tmp_path / 'results.csv')
            if (one['method'], one['split'], one['protocol'], one['threshold_rule'])
            == (row.method, 'test', 'whole', 'val')
        ]  # fmt: skip
        assert line[5] == f'{100 * np.mean(results):.2f} ± {100 * np.std(results, ddof=1):.2f}'
        (stored,) = (
            one for one in summary
            if (one['method'], one['protocol'], one['threshold_rule']) == (row.method, 'whole', 'val')
        )  # fmt: skip
        assert float(stored['object_ap_mean']) == pytest.approx(np.mean(results))
        if row.is_reference:
            assert (line[6], stored['object_ap_difference']) == ('reference', '')
            base = np.mean(results)
    for row, line in zip(rows, lines, strict=True):
        if not row.is_reference:
            gap = row.object_comparisons['object_ap']
            assert gap.difference == pytest.approx(row.figures['object_ap'].mean - base)
            spans = [f'{signed(one.low)} to {signed(one.high)}' for one in (gap.over_images, gap.over_seeds)]
            assert line[6:10] == [signed(gap.difference), *spans, gap.verdict]
    for cell in (cell for line in lines for cell in line):
        assert f'<td>{cell}</td>' in page
    assert 'objects matched at equal precision' in page


def test_a_board_of_a_version_that_matched_no_objects(board):
    for name in ('report.md', 'index.html', 'summary.csv'):
        text = (board.out / name).read_text()
        assert 'object_ap' not in text
        assert 'AP ranks' not in text
