"""The tutorial runs from its first cell to the last, with less data and fewer iterations."""

import os
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
pytest.importorskip('ipykernel')
pytest.importorskip('geopandas')
pytest.importorskip('matplotlib')
pytest.importorskip('pyogrio')

SMALLER = {
    'train=48, val=8, test=4, size=256': 'train=8, val=2, test=3, size=128',
    'ITERATIONS = 100': 'ITERATIONS = 2',
}


def test_tutorial(repo, tmp_path, tool_env, monkeypatch):
    notebook = nbformat.read(repo / 'docs/tutorial.ipynb', as_version=4)
    for old, new in SMALLER.items():
        cells = [cell for cell in notebook.cells if old in cell.source]
        assert len(cells) == 1
        cells[0].source = cells[0].source.replace(old, new)
    for name, value in tool_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('PATH', f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')

    nbclient.NotebookClient(notebook, timeout=600, resources={'metadata': {'path': tmp_path}}).execute()

    assert all(cell.outputs for cell in notebook.cells if 'plt.subplots' in cell.get('source', ''))
    table = next(cell for cell in notebook.cells if 'sort_values' in cell.source).outputs[0]['data'][
        'text/plain'
    ]
    assert 'area_m2' in table
    assert {path.name for path in (tmp_path / 'tutorial').glob('change*')} == {
        'change.tif', 'change_mask.tif', 'change.gpkg', 'change.json',
    }  # fmt: skip


def test_outputs_are_small(repo):
    assert (repo / 'docs/tutorial.ipynb').stat().st_size < 150_000
