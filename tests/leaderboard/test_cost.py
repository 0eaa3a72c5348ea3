"""What a method costs: measured once, apart from its runs, which copy the figures."""

import json
import os
import re
import subprocess
import time

import pytest
import torch

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from leaderboard_runs import best_checkpoint, best_model, leaderboard, one_method, rows_of

from hsonet_mm import workers
from hsonet_mm.files import lock
from hsonet_mm.leaderboard import cost
from hsonet_mm.leaderboard.plan import contenders
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.machine import device_name


def test_what_a_run_cost(trained_board, repo):
    rows = rows_of(trained_board[0], 'results', method='tiny')
    (one, *_) = rows
    assert int(one['parameters']) == sum(
        weight.numel() for weight in best_model(trained_board[0]).parameters()
    )
    assert int(one['macs']) > 1e6
    for name in ('train_seconds', 'harness_seconds', 'latency_ms', 'throughput'):
        assert float(one[name]) > 0, name
    assert 100 < float(one['peak_memory_mib']) < 1e5
    assert one['best_iteration'] in ('2', '4')
    assert one['best_iteration'] == re.search(r'iter_(\d+)', best_checkpoint(trained_board[0]).name)[1]
    head = subprocess.run(
        ['git', '-C', str(repo), 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True
    )
    if head.returncode == 0:
        assert one['commit'].rstrip('+') == head.stdout.strip()
    assert len({row['config_hash'] for row in rows}) == 1  # neither seed nor data set are part of it
    # the model is measured once, apart from its runs, which copy the figures
    measured = json.loads((trained_board[0] / 'costs' / f'{one["config_hash"]}.json').read_text())
    assert set(measured) == {'parameters', 'macs', 'latency_ms', 'throughput', 'timed_on'}
    assert all(row[name] == str(value) for row in rows for name, value in measured.items())
    assert one['timed_on'] == one['device'] == device_name()
    assert len(list((trained_board[0] / 'costs').glob('*.json'))) == 2
    assert trained_board[2].index(next(line for line in trained_board[2] if line.endswith(': started'))) == 3
    assert (
        sum(bool(re.match(r'cost of From scratch, 4 / tiny: measured \(', line)) for line in trained_board[2])
        == 1
    )


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_cost_that_cannot_be_measured_loses_no_run(
    write_spec, launch_here, hsonet, in_process, tmp_path, monkeypatch
):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))

    def launch(job, module, *more):
        return 1 if module == 'hsonet_mm.leaderboard.cost' else launch_here(job, module, *more)

    monkeypatch.setattr(workers, 'launch', launch)
    code, stdout, _ = leaderboard(hsonet, spec, out)
    assert code == 0
    assert f'cost of From scratch, 4 / tiny: not known, see {out / "costs/log.txt"} (' in stdout
    rows = rows_of(out, 'results', status='ok')
    assert {(row['latency_ms'], row['parameters'], row['timed_on']) for row in rows} == {('', '', '')}
    assert in_process == []


@pytest.mark.any_host
def test_models_are_measured_by_one_leaderboard_at_a_time(
    write_spec, hsonet, in_process, tmp_path, monkeypatch
):
    """Another one has the folder until this one waits for it; of its figures one file is damaged."""
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    (one,) = contenders(read_spec(spec)).values()
    (out / 'costs').mkdir(parents=True)
    figures = out / 'costs' / f'{one.config_hash}.json'
    figures.write_text('')
    measured = []
    monkeypatch.setattr(workers, 'launch', lambda _, module, *__: measured.append(module) or 1)
    with (out / 'costs/lock').open('w') as other:
        assert lock(other)
        monkeypatch.setattr(time, 'sleep', lambda _: other.close())
        _, stdout, _ = leaderboard(hsonet, spec, out)
    assert stdout.index('Another process measures what the models cost') < stdout.index(
        'cost of From scratch'
    )
    assert measured.count('hsonet_mm.leaderboard.cost') == 1
    assert in_process == []


@pytest.mark.any_host
def test_costs_on_a_busy_machine_are_told(write_spec, hsonet, in_process, tmp_path, monkeypatch):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    monkeypatch.setattr(os, 'cpu_count', lambda: 4)
    monkeypatch.setattr(workers, 'launch', lambda *_: 1)
    (one,) = contenders(read_spec(spec)).values()
    for load, known, told in ((0.9, False, False), (1.1, False, True), (1.1, True, False)):
        monkeypatch.setattr(os, 'getloadavg', lambda load=load: (load, 0.0, 0.0))
        if known:
            (out / 'costs' / f'{one.config_hash}.json').write_text('{}')
        stdout = leaderboard(hsonet, spec, out)[1]
        assert (f'The machine is busy (load {load})' in stdout) is told
    assert in_process == []


@pytest.mark.any_host
def test_memory_of_a_gpu_is_what_pytorch_allocated(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: 3 * 2**20)
    assert cost.peak_training_memory() == 3
