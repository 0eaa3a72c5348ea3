"""Tests are found wherever the package runs: none of them needs an extra to be collected."""

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


@pytest.mark.parametrize(
    'path',
    sorted(Path(__file__).parent.rglob('test_*.py')),
    ids=lambda path: f'{path.parent.name}/{path.stem}',
)
def test_extras_are_asked_for_before_they_are_imported(path):
    found, skipped = imports(path)
    late = [name for line, name in found if name in EXTRAS and not skipped.get(EXTRAS[name], line) < line]
    assert not late
