"""What the site is built with: tables from the CSV files of boards, docstrings, equations and notebooks as Markdown."""

import base64
import csv
import importlib.util
import re

import pytest

pytest.importorskip('griffe')
pytest.importorskip('latex2mathml')
pytest.importorskip('mkdocs')

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
    assert [line.replace('\N{NO-BREAK SPACE}', ' ') for line in lines] == [
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
        'One :class:`~hsonet_mm.VFPN` and :math:`z_1`. As in::\n\n    x = a[::2]\n\n'
        '.. math:: a = b \\\\\n          c\n\nArgs:\n    x: of\n        :func:`f`.\n'
    )
    assert text.startswith('One `hsonet_mm.VFPN` and <math')
    assert '. As in:\n\n    x = a[::2]\n' in text
    assert text.count('<math') == 2
    assert 'display="block"' in text
    assert ':math:' not in text
    assert '.. math' not in text
    assert text.endswith('\n\nArgs:\n    x: of\n        `f`.\n')


def test_equations_become_mathml(repo):
    convert = load(repo / 'docs/equations.py').on_page_markdown
    text = convert('With $`e = 1 - p`$:\n\n```math\nw = \\zeta\n```\n\nand `$HOME`, ${ROOT:-data}.\n')
    assert text.count('<math') == 2
    assert re.search(r'<div><math[^>]*display="block">', text)
    assert text.endswith('and `$HOME`, ${ROOT:-data}.\n')


def test_notebooks_become_pages(repo):
    hook = load(repo / 'docs/notebook_pages.py')
    png = base64.b64encode(b'a picture').decode()
    outputs = [
        {'output_type': 'stream', 'text': ['one\n', 'two\n']},
        {'output_type': 'display_data', 'data': {'image/png': png, 'text/plain': ['<Figure>']}},
        {'data': {'text/html': ['<style>p {}</style>\n<table border="1"><tr style=""></tr></table>']}},
        {'output_type': 'execute_result', 'data': {'text/plain': ['0.5']}},
    ]  # fmt: skip
    cells = [
        {'cell_type': 'markdown', 'source': ['# Title\n', '[more](data.md)']},
        {'cell_type': 'code', 'source': ['x = 1\n', 'x'], 'outputs': outputs},
    ]
    text, pictures = hook.to_markdown({'cells': cells}, 'tutorial')
    assert text.split('\n\n') == [
        '# Title\n[more](data.md)',
        '```python\nx = 1\nx\n```',
        '```text\none\ntwo\n```',
        '![Output of the cell above](tutorial_0.png)',
        '<table><tr></tr></table>',
        '```text\n0.5\n```\n',
    ]
    assert pictures == {'tutorial_0.png': b'a picture'}
    assert hook.on_page_markdown('[a](tutorial.ipynb), `x.ipynb`') == '[a](tutorial.md), `x.ipynb`'


def test_explained_model(repo, tmp_path):
    pytest.importorskip('captum')
    pytest.importorskip('sklearn')
    hook = load(repo / 'docs/explained.py')
    page = hook.explain(tmp_path, pairs=2, size=128, samples=20)
    assert 'silhouette' in page.read_text()
    text = hook.on_page_markdown((repo / 'docs/explain.md').read_text())
    assert hook.MARKER not in text
    for name in hook.FIGURES:
        assert f'(img/explained/{name}.webp)' in text
        assert (tmp_path / f'{name}.webp').stat().st_size > 1000


# Rows of the README's table: the block of the boards, and the method, which `balance` calls otherwise.
BOARDS = {'F1, demo': 'demo', 'F1, LEVIR-CD 1 m': 'levir_512', 'F1, GZ-CD': 'gz_256'}
METHODS = {
    'HSONet-lite': 'hsonet_lite',
    'same, plain BCE': 'hsonet_lite_bce',
    'U-Net, same encoder': 'unet_lite0',
    'USSFC-Net': 'ussfc_net',
    'FC-EF': 'fc_ef',
}


def test_table_of_the_readme_is_that_of_the_boards(repo):
    def summary(data, block, method):
        board = data
        if (data, block) == ('demo', 'ImageNet weights') and method.startswith('hsonet_lite'):
            board, method = 'balance', {'hsonet_lite': 'eo_balanced', 'hsonet_lite_bce': 'bce'}[method]
        with (repo / f'docs/leaderboards/{board}/summary.csv').open(newline='') as file:
            [found] = [
                row
                for row in csv.DictReader(file)
                if (row['block'], row['method']) == (block, method)
                and (row['protocol'], row['threshold_rule']) == ('whole', 'val')
                and row['data_set'] == row['test_set'] == data
            ]
        return found

    text = (repo / 'README.md').read_text()
    lines = [
        [cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines() if line.startswith('|')
    ]
    header, block, checked = lines[0], '', 0
    for row in (dict(zip(header, line, strict=True)) for line in lines[2:]):
        if row['method'].startswith('**'):
            block = row['method'].strip('*')
            continue
        seeds = []
        for column, board in BOARDS.items():
            of_board = summary(board, block, METHODS[row['method']])
            f1, spread = (100 * float(of_board[f'f1_{name}']) for name in ('mean', 'std'))
            assert row[column] == f'{f1:.1f} ± {spread:.1f}'
            seeds.append(of_board['seeds'])
            checked += 1
        assert row['seeds'] in (', '.join(seeds), *(set(seeds) if len(set(seeds)) == 1 else ()))
        assert row['parameters'] == f'{float(of_board["parameters_mean"]) / 1e6:.2f} M'
        assert (
            row['ms'] == f'{float(of_board["latency_ms_mean"]):.0f}'
        )  # of GZ-CD, the last: all on an idle machine
        assert not row['config'] or (repo / 'configs' / row['config'].strip('`')).is_file()
    assert checked == 18
