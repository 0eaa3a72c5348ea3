"""The folder of a run: its config, its description, its lock, and what is taken over from before."""

import json
import shutil

import pytest
import yaml
from mmengine.config import Config

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from leaderboard_runs import best_checkpoint, first_job, leaderboard, one_method, run_folder

from hsonet_mm.config import short_hash
from hsonet_mm.leaderboard import plan, records
from hsonet_mm.leaderboard import run as runs
from hsonet_mm.leaderboard.job import Job, alone, as_python


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_another_config_is_trained_anew(write_spec, hsonet, in_process, tmp_path):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    assert leaderboard(hsonet, spec, out)[0] == 0
    folder = run_folder(out)
    (folder / 'work_dir' / 'left_over').write_text('of the old config')
    first = (out / 'results.csv').read_text()
    content = yaml.safe_load(spec.read_text())

    content['blocks']['From scratch, 4']['options']['train_dataloader.num_workers'] = 0  # changes no result
    spec.write_text(yaml.safe_dump({**content, 'title': 'Renamed'}))
    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out)[1]

    content['blocks']['From scratch, 4']['options']['optim_wrapper.optimizer.lr'] = 1e-4
    spec.write_text(yaml.safe_dump(content))
    first_job(spec, out)  # nothing is removed before its run begins
    assert (folder / 'work_dir' / 'left_over').exists()
    assert list(folder.glob('work_dir/best_*.pth'))
    assert leaderboard(hsonet, spec, out)[0] == 0
    assert in_process == [folder / 'run.json'] * 2
    assert not (folder / 'work_dir' / 'left_over').exists()
    assert Config.fromfile(folder / 'config.py').optim_wrapper.optimizer.lr == 1e-4
    second = (out / 'results.csv').read_text()
    assert second.startswith(first)
    rows = records.read(out / 'results.csv')
    old, new = ({row['config_hash'] for row in part} for part in (rows[:6], rows[6:]))
    assert len(old) == len(new) == 1
    assert old != new
    assert records.newest(rows) == rows[6:]
    training = records.newest(records.read(out / 'training.csv'))
    assert [row['iteration'] for row in training] == ['1', '2', '3', '4']


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_test_set_that_lacks_is_scored_without_training(
    write_spec, hsonet, in_process, tmp_path, monkeypatch
):
    out, spec = tmp_path / 'out', write_spec(tmp_path / 'spec.yaml', also_test={})
    only = ('--methods', 'tiny', '--data', 'houses')
    assert leaderboard(hsonet, spec, out, *only)[0] == 0
    first = records.read(out / 'results.csv')
    checkpoint = best_checkpoint(out)
    before = checkpoint.stat()
    assert not (checkpoint.parent / 'last_checkpoint').exists()  # what it names is gone

    write_spec(spec)
    assert '1 run, done before: 0' in leaderboard(hsonet, spec, out, *only, '--dry-run')[1]
    monkeypatch.setattr(runs, 'code_version', lambda: 'later')
    with monkeypatch.context() as patch:
        patch.setattr(runs, 'train', None)  # nothing is trained
        assert leaderboard(hsonet, spec, out, *only)[0] == 0
    assert len(in_process) == 2
    after = best_checkpoint(out).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    rows = records.read(out / 'results.csv')
    assert rows[: len(first)] == first
    new = records.newest(rows)
    assert new == rows[len(first) :]
    again = [row for row in new if row['test_set'] == 'houses']
    varies = ('openings', 'harness_seconds', 'commit', 'scored_at')
    assert [{**row, **dict.fromkeys(varies)} for row in again] == [
        {**row, **dict.fromkeys(varies)} for row in first
    ]
    assert {row['commit'] for row in new} == {f'{first[0]["commit"]}, scored by later'}
    test = [row for row in new if row['split'] == 'test']
    assert {(row['test_set'], row['protocol'], row['openings']) for row in test} == {
        ('houses', 'whole', '2'), ('houses', 'tiles_256', '2'), ('demo', 'whole', '1'), ('demo', 'tiles_256', '1'),
    }  # fmt: skip
    scorings = {row['scored_at'] for row in rows if (row['split'], row['test_set']) == ('test', 'houses')}
    assert len(scorings) == 2
    training = records.newest(records.read(out / 'training.csv'))
    assert [row['iteration'] for row in training] == ['1', '2', '3', '4']

    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out, *only)[1]
    write_spec(spec, also_test={})  # less is wanted than is there
    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out, *only)[1]
    assert len(in_process) == 2

    best_checkpoint(out).unlink()
    (out / 'results.csv').unlink()
    shutil.rmtree(run_folder(out) / 'parts')
    assert leaderboard(hsonet, spec, out, *only)[0] == 0  # trained from the start
    assert {row['commit'] for row in records.read(out / 'results.csv')} == {'later'}


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_other_files_are_trained_on_anew(write_spec, hsonet, in_process, tmp_path, tiny_data):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    moved = tmp_path / 'moved'
    shutil.copytree(tiny_data, moved)
    assert leaderboard(hsonet, spec, out)[0] == 0
    spec.write_text(spec.read_text().replace(str(tiny_data), str(moved)))
    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out)[1]  # the files are the same

    for folder in ('A', 'B', 'label'):
        (moved / 'train' / folder / '3.png').unlink()
    (run_folder(out) / 'work_dir' / 'left_over').touch()
    assert leaderboard(hsonet, spec, out)[0] == 0
    assert len(in_process) == 2
    assert not (run_folder(out) / 'work_dir' / 'left_over').exists()
    rows = records.read(out / 'results.csv')
    assert len({row['data_hash'] for row in rows}) == 2
    assert len({row['config_hash'] for row in rows}) == 1
    assert len(list((out / 'costs').glob('*.json'))) == 1  # nothing new to measure


@pytest.mark.any_host
@pytest.mark.usefixtures('in_process')
def test_one_process_a_run(write_spec, execute_here, hsonet, tmp_path, capsys):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    job = first_job(spec, out)
    with alone(job.parent):
        assert execute_here(job) == runs.BUSY
        assert 'another process uses' in capsys.readouterr().err
        assert not (job.parent / 'parts').exists()
        code, stdout, _ = leaderboard(hsonet, spec, out)
        assert code == 0
        assert f'left to another process, which uses {job.parent}' in stdout
        assert '0 failed, 1 left to another process' in stdout
        assert not (job.parent / 'parts').exists()


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run', 'in_process')
def test_run_that_another_process_has_finished_is_not_scored_again(
    write_spec, execute_here, hsonet, tmp_path
):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    job = first_job(spec, out)  # of a leaderboard that comes to it later
    assert leaderboard(hsonet, spec, out)[0] == 0
    rows = records.read_parts(job.parent, 'results')
    assert Job.read(job).is_done(rows)
    assert execute_here(job) == 0
    assert records.read_parts(job.parent, 'results') == rows
    assert {row['openings'] for row in rows if row['split'] == 'test'} == {'1'}
    assert records.openings(job.parent, 'houses') == 1
    assert not Job.read(job).is_done(row for row in rows if row['protocol'] != 'tiles_256')
    assert not Job.read(job).is_done({**row, 'status': 'failed: no memory'} for row in rows)


def test_config_file_of_a_run_is_the_config(trained_board):
    """It is laid out by Python instead of MMEngine, which takes a second, and nothing may be lost."""
    text = (run_folder(trained_board[0]) / 'config.py').read_text()
    cfg = Config.fromfile(run_folder(trained_board[0]) / 'config.py')
    assert as_python(cfg) == text
    assert cfg.randomness.seed == 3
    assert cfg.model.decode_head.prior == 0.3
    assert cfg.optim_wrapper.optimizer.lr == 3e-3
    assert isinstance(cfg.protocols.tiles_256.crop_size, tuple)
    job = Job.read(run_folder(trained_board[0]) / 'run.json')
    assert job.run == records.Run(block='From scratch, 4', method='tiny', data_set='houses', seed=3)
    assert short_hash(plan.relevant(cfg.to_dict())) == job.config_hash


def test_job_file_is_plain(trained_board):
    content = json.loads((run_folder(trained_board[0]) / 'run.json').read_text())
    assert set(content['test_sets']) == {'houses', 'demo'}
