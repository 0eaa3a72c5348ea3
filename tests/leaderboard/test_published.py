"""Published results: consistent in themselves, and apart from ours."""

import csv
import re

import pytest

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import Page, markdown_tables

from hsonet_mm.leaderboard.published import FILE, read_published

pytestmark = pytest.mark.any_host


def test_published_figures_stand_apart_with_their_notes(board):
    text = (board.out / 'index.html').read_text()
    assert 'Not comparable with ours' in text
    assert '91.04 (P 89.70, R 92.42)' in text
    assert 'Best epoch chosen on the test set' in text
    assert text.index('id="failed"') < text.index('91.04 (P')  # not in a table of ours


def test_published_figures_keep_their_digits(board):
    page = Page(board.out / 'index.html')
    (heads, *shown) = next(table for table in page.tables if 'published, other protocols' in table[0])[1:]
    own = len(heads) - 4
    with FILE.open(encoding='utf-8', newline='') as file:
        stated = list(csv.DictReader(file))
    lines = {line[0]: dict(zip(heads[own:], line[2 + own :], strict=True)) for line in shown}
    for row in stated:
        cell = lines[row['method']][row['data_set']]
        figures = [row[name] for name in ('f1_low', 'f1_high', 'precision', 'recall', 'iou_low')]
        assert set(re.findall(r'\d+\.\d+', cell)) == set(figures) - {''}
    assert lines['tinycd']['SYSU-CD'].startswith('81.0 ')
    (_, written) = next(
        (heads, lines)
        for heads, lines in markdown_tables((board.out / 'report.md').read_text())
        if 'LEVIR-CD' in heads
    )
    assert [[re.sub(r' \((\d+)\)$', r' \1', cell) for cell in line] for line in written] == shown
    notes = re.findall(r'<li id="n\d+">(.*?)</li>', (board.out / 'index.html').read_text())
    text = (board.out / 'report.md').read_text()
    for number, note in enumerate(notes, 1):
        assert f'\n{number}. {note}\n' in text


def test_published_figures_are_consistent():
    entries = read_published()
    assert len({(entry.method, entry.data_set) for entry in entries}) == len(entries) == 44
    for entry in entries:
        low, high = float(entry.f1_low), float(entry.f1_high)
        assert 0 < low <= high < 100
        assert ('differs between the papers' in entry.protocol) == (low < high)
        assert 'as the paper' not in entry.protocol
        assert re.search(r' et al\.| and .*, .*20\d\d', entry.source), 'a paper, by its authors'
        if entry.iou_low:  # IoU = F1 / (2 - F1)
            assert float(entry.iou_low) == pytest.approx(100 * low / (200 - low), abs=0.15)
        if entry.precision:
            precision, recall = float(entry.precision), float(entry.recall)
            assert low == pytest.approx(2 * precision * recall / (precision + recall), abs=0.01)
        start = {'tinycd': 'ImageNet weights', 'bit_r18': 'ImageNet weights', 'fc_ef': 'from scratch'}
        assert start.get(entry.method, '') in entry.protocol
    (ussfc,) = (entry for entry in entries if (entry.method, entry.data_set) == ('ussfc_net', 'LEVIR-CD'))
    for trap in ('test set', 'swaps precision and recall', '6,912 of 43,200'):
        assert trap in ussfc.footnote
    assert 'not the official split' in ussfc.protocol
