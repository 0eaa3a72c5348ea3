"""What the site is built with: tables from the CSV files of boards, docstrings as Markdown."""

import csv
import importlib.util

import pytest

pytest.importorskip('griffe')
pytest.importorskip('latex2mathml')

pytestmark = pytest.mark.any_host


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HEADER = [
    'block',
    'data_set',
    'test_set',
    'protocol',
    'threshold_rule',
    'method',
    'seeds',
    'f1_mean',
    'f1_std',
    'iou_mean',
    'iou_std',
    'precision_mean',
    'precision_std',
    'recall_mean',
    'recall_std',
    'parameters_mean',
    'macs_mean',
]


def row(method, f1, *, block='from scratch', protocol='whole', rule='val', test_set='demo', spread='0.02'):
    scores = {f'{name}_mean': '0.5' for name in ('iou', 'precision', 'recall')}
    spreads = {f'{name}_std': spread for name in ('f1', 'iou', 'precision', 'recall')}
    return dict.fromkeys(HEADER, '') | scores | spreads | {
        'block': block, 'data_set': 'demo', 'test_set': test_set, 'protocol': protocol, 'threshold_rule': rule,
        'method': method, 'seeds': '3', 'f1_mean': str(f1), 'parameters_mean': '4148433.0', 'macs_mean': '4911095808.0',
    }  # fmt: skip


@pytest.fixture
def tables(repo, tmp_path, monkeypatch):
    """The tables of a board whose summary.csv has the given rows."""
    hook = load(repo / 'docs/benchmark_tables.py')
    monkeypatch.setattr(hook, 'BOARDS', tmp_path)

    def of(*rows):
        (tmp_path / 'board').mkdir(exist_ok=True)
        with (tmp_path / 'board/summary.csv').open('w', newline='') as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            writer.writerows(rows)
        return hook.on_page_markdown('before\n\n<!-- board: board -->\n\nafter')

    return of


def test_a_table_a_block_with_the_best_method_first(tables):
    text = tables(row('worse', 0.601), row('better', 0.6571), row('alone', 0.8, block='ImageNet weights'))
    assert text.startswith('before\n')
    assert text.endswith('\nafter')
    lines = [line for line in text.splitlines() if line.startswith(('**', '| ')) and 'precision' not in line]
    assert lines == [
        '**From scratch**',
        '| better | 65.7 ± 2.0 | 50.0 ± 2.0 | 50.0 ± 2.0 | 50.0 ± 2.0 | 3 | 4.15 | 4.91 |',
        '| worse | 60.1 ± 2.0 | 50.0 ± 2.0 | 50.0 ± 2.0 | 50.0 ± 2.0 | 3 | 4.15 | 4.91 |',
        '**ImageNet weights**',
        '| alone | 80.0 ± 2.0 | 50.0 ± 2.0 | 50.0 ± 2.0 | 50.0 ± 2.0 | 3 | 4.15 | 4.91 |',
    ]


def test_other_protocols_rules_and_test_sets_are_left_out(tables):
    others = [
        row('x', 0.9, protocol='tiles_256'),
        row('x', 0.9, rule='half'),
        row('x', 0.9, test_set='levir'),
    ]
    assert '| x |' not in tables(row('y', 0.5), *others)


def test_one_seed_has_no_spread(tables):
    assert '| y | 50.0 | 50.0 |' in tables(row('y', 0.5, spread=''))


def test_boards_of_the_page_exist(repo):
    boards = load(repo / 'docs/benchmark_tables.py')
    names = boards.MARKER.findall((repo / 'docs/benchmark.md').read_text())
    assert len(names) >= 3
    for name in names:
        assert boards.tables(name).count('\n| ') >= 3


def test_docstrings_become_markdown_and_mathml(repo):
    to_markdown = load(repo / 'docs/docstrings.py').to_markdown
    text = to_markdown(
        'One :class:`~hsonet_mm.VFPN` and :math:`z_1`.\n\n'
        '.. math:: a = b \\\\\n          c\n\nArgs:\n    x: of\n        :func:`f`.\n'
    )
    assert text.startswith('One `hsonet_mm.VFPN` and <math')
    assert text.count('<math') == 2
    assert 'display="block"' in text
    assert ':math:' not in text
    assert '.. math' not in text
    assert text.endswith('\n\nArgs:\n    x: of\n        `f`.\n')
