"""Rules for all tests: named after what they test, no private parts, collected without the extras."""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_host

EXTRAS = {
    'captum': 'explain',
    'onnx': 'export',
    'onnxruntime': 'export',
    'onnxscript': 'export',
    'pandas': 'leaderboard',
    'pydantic': 'leaderboard',
    'pyogrio': 'geo',
    'ray': 'ray',
    'shapely': 'geo',
    'sklearn': 'dev',
    'tensorboard': 'tensorboard',
}
"""Package: the extra that brings it."""

PUBLIC = ('Cell._fields', 'CELL._replace')
"""Of named tuples, in spite of the underscore."""


OTHERS = {
    'baselines': {
        'convolutional': 'FC-EF, FC-Siam, SNUNet, TinyCD',
        'ours': 'USSFC-Net and the plain U-Nets',
        'resnet': 'BIT, ChangerEx, FarSeg',
    },
    'docs': {'docstrings', 'readme', 'site', 'tutorial'},
    'inference': {
        'threshold': 'of checkpoints, in all commands',
        'torchless': 'in an environment of its own',
    },
    'models': {'eo_loss_distributed': 'in several processes'},
    'opencd': {'configs', 'main', 'real_opencd', 'stand_in_against_opencd'},
    'tests': {'collection', 'configs', 'reference_outputs'},
}
"""Test files, by folder, that are named after something else than a module, package or tool."""


def imports(path):
    """Line and name of what a file imports at its top; extra and line of what it skips without."""
    found, skipped = [], {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name.split('.')[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, (node.module or '').split('.')[0]))
        for call in ast.walk(node) if isinstance(node, ast.Assign | ast.Expr) else ():
            if isinstance(call, ast.Call) and getattr(call.func, 'attr', '') == 'importorskip':
                skipped[EXTRAS.get(call.args[0].value.split('.')[0])] = node.lineno
    return found, skipped


each_file = pytest.mark.parametrize(
    'path',
    sorted(Path(__file__).parent.rglob('test_*.py')),
    ids=lambda path: f'{path.parent.name}/{path.stem}',
)


def private_parts(path):
    """Private functions and classes of the package that a test file imports, or reaches for in a module of it."""
    found, modules = [], set()
    nodes = list(ast.walk(ast.parse(path.read_text())))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'hsonet_mm':
            found += [alias.name for alias in node.names if alias.name.startswith('_')]
            modules |= {alias.asname or alias.name for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found += [f'{node.value.id}.{node.attr}'] * (node.attr[0] == '_' != node.attr[1])
    return [name for name in found if name not in PUBLIC]


@each_file
def test_file_is_named_after_what_it_tests(path, repo):
    name, folder = path.stem.removeprefix('test_'), path.parent.name
    known = {file.stem for top in ('hsonet_mm', 'tools') for file in (repo / top).rglob('*.py')}
    packages = {file.parent.name for file in (repo / 'hsonet_mm').rglob('__init__.py')}
    assert name in known | packages | set(OTHERS.get(folder, ()))


@each_file
def test_private_parts_are_tested_through_public_ones(path):
    assert not private_parts(path)


@each_file
def test_extras_are_asked_for_before_they_are_imported(path):
    found, skipped = imports(path)
    late = [name for line, name in found if name in EXTRAS and not skipped.get(EXTRAS[name], line) < line]
    assert not late
