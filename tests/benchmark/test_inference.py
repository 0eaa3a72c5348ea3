"""Benchmarks of inference, scenes and start-up, small; their figures are those of a busy machine and not tested."""

import re
import signal
import subprocess
import sys

import pytest

from hsonet_mm.benchmark.main import main

pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')
pytest.importorskip('rasterio')


@pytest.fixture(scope='module', autouse=True)
def _without_handler_of_children():
    """After a data loader PyTorch is called when any child ends; late in a whole run the process dies of that call."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def rows_of(text):
    """The rows of all tables by their first cell, without titles and rules."""
    rows = [
        [cell.strip() for cell in line.strip('| ').split('|')] for line in text.splitlines() if '|' in line
    ]
    return {row[0]: row[1:] for row in rows if not set(row[0]) <= {'-'}}


def in_own_process(repo, *args):
    """The output of a benchmark that shares no process with other tests."""
    command = [sys.executable, repo / 'tools/benchmark.py', *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=repo).stdout


def test_inference(tiny_checkpoint, tiny_onnx, repo):
    config, checkpoint = tiny_checkpoint
    args = ['inference', config, '--checkpoint', checkpoint, '--onnx', tiny_onnx]
    args += ['--tile', 64, '--batch', 1, '--rounds', 1, '--threads', 1]
    out = in_own_process(repo, *args)
    rows = rows_of(out)
    reference = f'{config.stem}, PyTorch fp32'
    assert rows[reference][1] == '1.00 (1.00-1.00)'
    for kind in ('fp32', 'int8'):
        assert float(rows[f'{config.stem}, ONNX Runtime {kind}'][0]) > 0
    assert 'Inference, 1 x 64 x 64' in out
    assert 'load ' in out


def test_startup(tiny_onnx, repo):
    rows = rows_of(in_own_process(repo, 'startup', '--onnx', tiny_onnx, '--rounds', 1))
    python = float(rows['python -c pass'][0].split()[0])
    assert 0 < python < float(next(cells[0] for name, cells in rows.items() if 'predict' in name).split()[0])


def test_memory_of_scenes(capsys):
    assert main(['scene', '--only', 'memory', '--sizes', '128', '256']) == 0
    rows = rows_of(capsys.readouterr().out)
    small, large = ([float(figure) for figure in rows[f'{size} x {size}'][:3]] for size in (128, 256))
    for peak, before, ratio in (small, large):
        # as much as Python with all packages, which has room for scenes as small as these
        assert peak >= before > 0
        assert ratio == pytest.approx(peak / small[0], abs=0.01)
    assert large[2] < 1.1  # and not with its size


def test_seams_of_scenes(capsys):
    assert main(['scene', '--only', 'seams']) == 0
    found = re.search(r'tiled and whole differ by (\S+) at most', capsys.readouterr().out)
    assert float(found[1]) < 1e-5


def test_speed_of_scenes(tiny_onnx, capsys):
    size = ['--speed-size', '128', '--tile', '64', '--overlap', '32', '--rounds', '1']
    assert main(['scene', str(tiny_onnx), '--only', 'speed', *size]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows['model alone'][1] == '1.00 (1.00-1.00)'
    assert float(rows['scene'][0]) < float(rows['scene, to its last tile'][0])


@pytest.mark.parametrize('part', ['inference', 'scene'])
def test_a_bad_model_ends_in_one_sentence(part, tmp_path, capsys):
    args = [part, str(tmp_path / 'no.py'), *(['no.pth', '--only', 'speed'] if part == 'scene' else [])]
    assert main(args) == 2
    assert capsys.readouterr().err.startswith(f'error: the config {tmp_path / "no.py"} does not exist: ')
