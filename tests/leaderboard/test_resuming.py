"""A run that was killed goes on where it stopped."""

import json
import re
import subprocess
import sys
import time

import pytest
import torch

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from leaderboard_runs import first_job, leaderboard, one_method, stub_report

from hsonet_mm.leaderboard import records


def test_validation_that_a_kill_cut_off_is_made_up_for(write_spec, execute_here, tmp_path, monkeypatch):
    """The checkpoint before it is written by then, so the training goes on behind it."""
    from mmengine.runner import ValLoop

    job = first_job(one_method(write_spec(tmp_path / 'spec.yaml')), tmp_path / 'out')
    validate = ValLoop.run

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ValLoop, 'run', killed)
    with pytest.raises(KeyboardInterrupt):
        execute_here(job)
    work_dir = job.parent / 'work_dir'
    assert [path.name for path in work_dir.glob('*.pth')] == ['iter_2.pth']
    before = torch.load(work_dir / 'iter_2.pth', weights_only=True)['train_seconds']
    assert before > 0
    assert not (job.parent / 'parts').exists()

    time.sleep(1.1)  # MMEngine's folders of logs are named by the second
    monkeypatch.setattr(ValLoop, 'run', validate)
    assert execute_here(job) == 0
    rows = records.read_parts(job.parent, 'training')
    assert [row['iteration'] for row in rows] == ['1', '2', '3', '4']
    assert [bool(row['val_f1']) for row in rows] == [False, True, False, True]
    (result, *_) = records.read_parts(job.parent, 'results')
    best = max(rows, key=lambda row: float(row['val_best_f1'] or -1))
    assert result['best_iteration'] == best['iteration']
    assert float(result['train_seconds']) > before
    assert (job.parent / 'parts').is_dir()


def test_kill_while_a_checkpoint_is_saved(write_spec, execute_here, tmp_path, monkeypatch):
    """MMEngine deletes old checkpoints before it saves one; the folder may move as well before the run goes on."""
    from mmengine.runner import Runner

    job = first_job(one_method(write_spec(tmp_path / 'spec.yaml')), tmp_path / 'out')
    save = Runner.save_checkpoint

    def killed(runner, out_dir, filename, *args, **kwargs):
        if filename == 'iter_4.pth':
            raise KeyboardInterrupt
        save(runner, out_dir, filename, *args, **kwargs)

    monkeypatch.setattr(Runner, 'save_checkpoint', killed)
    with pytest.raises(KeyboardInterrupt):
        execute_here(job)

    time.sleep(1.1)  # MMEngine's folders of logs are named by the second
    monkeypatch.setattr(Runner, 'save_checkpoint', save)
    job = job.parent.rename(tmp_path / 'moved') / job.name
    assert execute_here(job) == 0
    *_, log = sorted(job.parent.glob('work_dir/*/vis_data/scalars.json'))
    assert {json.loads(line)['step'] for line in log.read_text().splitlines()} == {3, 4}
    rows = records.read_parts(job.parent, 'training')
    assert [row['iteration'] for row in rows] == ['1', '2', '3', '4']
    assert [bool(row['val_f1']) for row in rows] == [False, True, False, True]
    assert {row['status'] for row in records.read_parts(job.parent, 'results')} == {'ok'}


def test_killed_run_goes_on(write_spec, hsonet, tmp_path, tool_env, monkeypatch):
    """A process of its own, killed in the midst of training, as the machine might."""
    stub_report(monkeypatch)
    out = tmp_path / 'out'
    spec = one_method(write_spec(tmp_path / 'spec.yaml', iterations=60, validations=6))
    job = first_job(spec, out)
    command = [sys.executable, '-m', 'hsonet_mm.leaderboard.run', str(job)]
    with subprocess.Popen(command, env=tool_env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        patience = time.monotonic() + 240
        last = job.parent / 'work_dir/last_checkpoint'
        while not last.exists() and time.monotonic() < patience:
            assert run.poll() is None
            time.sleep(0.02)
        run.kill()
    reached = int(re.search(r'iter_(\d+)', last.read_text())[1])
    assert reached < 60
    assert not (job.parent / 'parts').exists()
    monkeypatch.setenv('PYTHONPATH', tool_env['PYTHONPATH'])
    code, stdout, stderr = leaderboard(hsonet, spec, out)
    assert code == 0, stderr
    assert '1 run, done before: 0' in stdout
    assert 'changed F1' in stdout
    log = (job.parent / 'log.txt').read_text()
    assert f'resumed epoch: 0, iter: {reached}' in log
    rows = records.read(out / 'training.csv')
    assert [int(row['iteration']) for row in rows] == list(range(1, 61))
    assert [int(row['iteration']) for row in rows if row['val_f1']] == list(range(10, 61, 10))
    assert {row['status'] for row in records.read(out / 'results.csv')} == {'ok'}
