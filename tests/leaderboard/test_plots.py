"""The plots of the report: what they show, and that it can be read."""

import re

import pytest

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import CELL, SKILLS, Page, small, tables_of

from hsonet_mm.leaderboard.plots import cost_plot, styles
from hsonet_mm.leaderboard.report import write_report
from hsonet_mm.leaderboard.summary import Spread, Standing

pytestmark = pytest.mark.any_host


def test_latencies_of_two_devices_are_not_joined(tmp_path):
    fake = small(tmp_path, ('hsonet_lite', 'tinycd'), (0, 1))
    write_report(fake.write())
    rows, looks = tables_of(fake)[CELL], styles(SKILLS)

    def joined(cost):
        return 'stroke-dasharray' in cost_plot(tables_of(fake)[CELL], cost, looks)

    assert joined('macs')
    assert joined('latency_ms')
    assert {row.timed_on for row in rows} == {'CPU, 1 thread'}
    for row in fake.tables['results']:
        if row['method'] == 'tinycd':
            row['timed_on'] = 'a GPU'
    page = Page(write_report(fake.write()))
    assert joined('macs')
    assert not joined('latency_ms')
    (cost,) = (table for table in page.tables if 'GMACs' in table[0])
    column = cost[0].index('timed on')
    assert {line[0]: line[column] for line in cost[1:]} == {
        'hsonet_lite': 'CPU, 1 thread', 'tinycd': 'a GPU',
    }  # fmt: skip


def test_validations_at_different_iterations_have_no_mean(tmp_path):
    fake = small(tmp_path, seeds=(0, 1))
    for row in fake.tables['training']:
        row['iteration'] += row['seed']
    text = write_report(fake.write()).read_text()
    assert 'aria-label="F1 on the validation split over the training"' in text  # the seeds are there
    assert 'shares of the gradient of' not in text
    fake.tables['training'] = [
        row | {'iteration': row['iteration'] - row['seed']} for row in fake.tables['training']
    ]
    assert 'shares of the gradient of' in write_report(fake.write()).read_text()


def test_validation_is_drawn_at_its_best_threshold(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'hsonet_mm.leaderboard.plots.to_svg', lambda figure, alt: drawn.append((alt, figure.axes[0])) or ''
    )
    fake = small(tmp_path)
    write_report(fake.write())
    (axes,) = (axes for alt, axes in drawn if alt.startswith('F1 on the validation'))
    (line,) = axes.lines
    logged = [100 * row['val_best_f1'] for row in fake.tables['training'] if row['val_best_f1']]
    assert line.get_ydata() == pytest.approx(logged)


def test_plots_follow_the_page_and_show_what_is_there(board):
    text = (board.out / 'index.html').read_text()
    plots = re.findall(r'<svg.*?</svg>', text, flags=re.DOTALL)
    labels = [re.search(r'aria-label="([^"]*)"', plot)[1] for plot in plots]
    own = ['F1 against GMACs a pair at 256 x 256', 'F1 against latency of a pair, ms', 'precision-recall curves',
           'F1 on the validation split over the training', 'shares of the gradient of hsonet_lite']  # fmt: skip
    assert labels == [*own, *own]
    for plot in plots:
        assert 'currentColor' in plot
        assert '#123456' not in plot
        assert '<metadata' not in plot
        ids = re.findall(r' id="([^"]*)"', plot)
        assert len(ids) == len(set(ids))
    for method in SKILLS:
        assert all(f'>{method}<' in plot for plot in plots[:4])
    looks = styles(f'method {index}' for index in range(56))
    assert len(set(looks.values())) == 56


@pytest.mark.parametrize(
    'latencies', [(100, 118, 176), (3, 5), (0.9, 80), (7, 7.0001), (12,), (0.06, 0.07), (0.8, 2000), (2, 5e6)]
)
def test_latency_plot_has_readable_ticks(latencies):
    """Three to ten plain numbers, no two alike, within what the axis shows."""
    rows = [
        Standing(
            CELL, f'm{index}', 1, figures={'f1': Spread(0.5, None)}, costs={'latency_ms': Spread(one, None)}
        )
        for index, one in enumerate(latencies)
    ]
    plot = cost_plot(rows, 'latency_ms', styles(row.method for row in rows))
    axis = plot[: plot.index('>latency of a pair')]
    ticks = [float(text) for text in re.findall(r'<text[^>]*>([\d.e+]+)</text>', axis)]
    assert 3 <= len(ticks) <= 10
    assert ticks == sorted(set(ticks))
    assert min(latencies) / 2 < ticks[-1]
    assert ticks[0] < 2 * max(latencies)
