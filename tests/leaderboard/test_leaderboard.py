"""The command ``hsonet leaderboard``: what it runs, skips and refuses, and its workers."""

import re
import signal
import time

import pytest
import yaml

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from leaderboard_runs import MODULE, SWITCH, leaderboard, one_method, rows_of, stub_report

from hsonet_mm import workers
from hsonet_mm.leaderboard import records


def test_what_is_done_is_skipped(trained_board, hsonet, in_process):
    out = trained_board[0]
    before = {path: path.read_bytes() for path in out.rglob('*.csv')}
    code, stdout, stderr = leaderboard(hsonet, out / 'spec.yaml', out, '--methods', 'tiny', '--seeds', 3)
    assert code == 0, stderr
    assert '2 runs, done before: 2' in stdout
    assert in_process == []
    assert {path: path.read_bytes() for path in out.rglob('*.csv')} == before
    code, stdout, _ = leaderboard(hsonet, out / 'spec.yaml', out, '--dry-run')
    assert code == 0
    assert '4 runs, done before: 2' in stdout
    assert 'done   houses / From scratch, 4 / tiny / seed 3' in stdout
    assert 'to do  demo / From scratch, 4 / broken / seed 3' in stdout
    assert in_process == []


def test_tables_alone_tell_what_is_done(trained_board, hsonet, in_process, tmp_path):
    """Committed tables count without the folders of their runs."""
    for path in trained_board[0].glob('*.csv'):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    code, stdout, _ = leaderboard(hsonet, trained_board[0] / 'spec.yaml', tmp_path, '--methods', 'tiny')
    assert code == 0
    assert '2 runs, done before: 2' in stdout
    assert in_process == []
    for path in trained_board[0].glob('*.csv'):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_spec_that_would_lose_figures_is_refused(trained_board, write_spec, hsonet, in_process, tmp_path):
    spec = one_method(write_spec(tmp_path / 'spec.yaml'))
    out = tmp_path / 'out'
    out.mkdir()
    for name in ('results.csv', 'spec.yaml'):
        (out / name).write_bytes((trained_board[0] / name).read_bytes())
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for args in ([], ['--report-only']):
        code, _, stderr = leaderboard(hsonet, spec, out, *args)
        assert code == 2
        assert 'contains the leaderboard of another spec' in stderr
        assert f'delete {out / "spec.yaml"}' in stderr
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert in_process == []


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'cp1252'])
def test_spec_of_any_editor_is_kept_readable(encoding, trained_board, hsonet, in_process, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    for path in trained_board[0].glob('*.*'):
        (out / path.name).write_bytes(path.read_bytes())
    text = (out / 'spec.yaml').read_text(encoding='utf-8')
    for number in range(2):  # the second time the copy is there
        spec = trained_board[0] / f'{encoding}_{number}.yaml'
        spec.write_bytes(f'# gr\xfcn\r\n{text}'.encode(encoding))
        code, _, stderr = leaderboard(hsonet, spec, out, '--methods', 'tiny', '--report-only')
        spec.unlink()
        assert code == 0, stderr
        kept = (out / 'spec.yaml').read_bytes().decode('utf-8')
        assert 'gr\xfcn\n' in kept
        assert '\ufeff' not in kept
    (out / 'spec.yaml').write_text('title: [')
    code, _, stderr = leaderboard(hsonet, trained_board[0] / 'spec.yaml', out, '--report-only')
    assert (code, f'or delete {out / "spec.yaml"} to follow' in stderr) == (2, True)
    assert in_process == []


def test_a_folder_of_something_else_is_left_alone(write_spec, hsonet, tmp_path):
    spec = one_method(write_spec(tmp_path / 'spec.yaml'))
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site/index.html').write_text('mine')
    code, _, stderr = leaderboard(hsonet, spec, tmp_path / 'site', '--report-only')
    assert (code, 'contains no leaderboard' in stderr) == (2, True)
    assert [path.name for path in (tmp_path / 'site').iterdir()] == ['index.html']


def test_only_what_is_run_is_checked(write_spec, hsonet, tmp_path):
    spec = one_method(write_spec(tmp_path / 'spec.yaml'))
    content = yaml.safe_load(spec.read_text())
    content['data']['mars'] = 'nowhere'
    block = content['blocks']['From scratch, 4']
    block['methods']['other'] = {
        **block['methods']['tiny'],
        'options': {'model.backbone.colour': 'red'},
    }
    spec.write_text(yaml.safe_dump(content))
    assert leaderboard(hsonet, spec, tmp_path / 'out', '--dry-run')[0] == 2
    args = ('--methods', 'tiny', '--data', 'houses', '--dry-run')
    code, stdout, stderr = leaderboard(hsonet, spec, tmp_path / 'out', *args)
    assert code == 0, stderr
    assert stdout.startswith('1 run, ')
    code, _, stderr = leaderboard(hsonet, spec, spec, *args)
    assert (code, stderr) == (2, f'error: {spec} is a file: name a folder for the leaderboard with --out\n')


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_figures_outlive_a_crash_behind_them(
    write_spec, launch_here, hsonet, in_process, tmp_path, monkeypatch
):
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    monkeypatch.setattr(
        workers, 'launch', lambda *args: launch_here(*args) or (-signal.SIGSEGV if args[1] == MODULE else 0)
    )
    code, stdout, _ = leaderboard(hsonet, spec, out)
    assert code == 0
    assert re.search(r'val; the figures are whole, but then the process ended with code -11 \(', stdout)
    assert '1 run in' in stdout
    assert {row['status'] for row in records.read(out / 'results.csv')} == {'ok'}
    assert '1 run, done before: 1' in leaderboard(hsonet, spec, out)[1]
    assert in_process == []


@pytest.mark.any_host
def test_failed_run_is_done_again(write_spec, hsonet, in_process, tmp_path, monkeypatch):
    out, spec = tmp_path / 'out', write_spec(tmp_path / 'spec.yaml', also_test={})
    content = yaml.safe_load(spec.read_text())
    del content['data']['demo']
    spec.write_text(yaml.safe_dump(content))
    assert leaderboard(hsonet, spec, out, '--methods', 'broken')[0] == 1
    monkeypatch.setitem(SWITCH, 'broken', False)
    code, stdout, _ = leaderboard(hsonet, spec, out, '--methods', 'broken')
    assert code == 0
    assert '1 run, done before: 0' in stdout
    statuses = [row['status'] for row in records.read(out / 'results.csv')]
    assert statuses == ['failed: RuntimeError: gone wrong'] + ['ok'] * 6
    assert len(in_process) == 2
    (row, *_) = records.newest(records.read(out / 'training.csv'))
    assert row['eo_zeta'] == ''


@pytest.mark.any_host
@pytest.mark.usefixtures('trained_run')
def test_run_that_another_leaderboard_ends_meanwhile(write_spec, hsonet, in_process, tmp_path, monkeypatch):
    """It is neither scored again nor recorded as failed."""
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    assert leaderboard(hsonet, spec, out)[0] == 0
    there = records.read(out / 'results.csv')
    monkeypatch.setattr(
        'hsonet_mm.commands.leaderboard._missing', lambda _out, _spec, runs, _ready: list(runs)
    )
    code, stdout, stderr = leaderboard(hsonet, spec, out)
    assert code == 0, stderr
    assert '1 run in ' in stdout
    assert records.read(out / 'results.csv') == there
    assert len(in_process) == 2


@pytest.mark.any_host
def test_killed_process_is_a_row(write_spec, hsonet, in_process, tmp_path, monkeypatch):
    del in_process
    out, spec = tmp_path / 'out', one_method(write_spec(tmp_path / 'spec.yaml'))
    for code, sentence in (
        (-signal.SIGKILL, 'ended by SIGKILL, perhaps for want of memory'),
        (7, 'ended with code 7'),
    ):
        monkeypatch.setattr(workers, 'launch', lambda *_, code=code: code)
        assert leaderboard(hsonet, spec, out)[0] == 1
        assert sentence in records.read(out / 'results.csv')[-1]['status']

    def refuse(*_):
        raise OSError('no process left')

    monkeypatch.setattr(workers, 'launch', refuse)
    assert leaderboard(hsonet, spec, out)[0] == 1
    assert records.read(out / 'results.csv')[-1]['status'] == 'failed: OSError: no process left'


@pytest.mark.any_host
@pytest.mark.parametrize(
    ('args', 'sentence'),
    [
        (['--workers', 0], 'invalid --workers 0: expected'),
        (['--ray-address', 'auto'], 'requires --engine ray'),
        (['--gpus', 'a'], "invalid --gpus 'a': expected whole numbers"),
        (['--gpus', '0,99'], 'invalid --gpus 0,99 '),
        (['--gpus', '0', '--engine', 'ray'], 'requires --engine local'),
        (['--seeds', 9], "invalid --seeds '9' "),
        (['--data', 'mars'], "invalid --data 'mars' "),
        (['--report-only'], 'contains no leaderboard'),
    ],
)
def test_options_that_do_not_fit(write_spec, hsonet, tmp_path, args, sentence):
    code, _, stderr = leaderboard(hsonet, write_spec(tmp_path / 'spec.yaml'), tmp_path / 'out', *args)
    assert code == 2
    assert sentence in stderr
    assert not (tmp_path / 'out').exists()


def test_report_only(trained_board, hsonet, in_process, tmp_path, monkeypatch):
    report = stub_report(monkeypatch)
    (tmp_path / 'results.csv').write_bytes((trained_board[0] / 'results.csv').read_bytes())
    code, stdout, _ = leaderboard(
        hsonet, trained_board[0] / 'spec.yaml', tmp_path, '--report-only', '--no-pictures'
    )
    assert code == 0
    assert stdout == f'Report: {tmp_path / "index.html"}\n'
    assert report.calls == [False]
    assert in_process == []
    assert (tmp_path / 'spec.yaml').read_bytes() == (trained_board[0] / 'spec.yaml').read_bytes()


@pytest.mark.any_host
def test_sigterm_is_an_interrupt(write_spec, hsonet, in_process, tmp_path, monkeypatch):
    del in_process
    spec = one_method(write_spec(tmp_path / 'spec.yaml'))
    before = signal.getsignal(signal.SIGTERM)

    def launch(*_):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.5)
        return 0

    monkeypatch.setattr(workers, 'launch', launch)
    code, _, stderr = leaderboard(hsonet, spec, tmp_path / 'out')
    assert code == 130
    assert stderr == 'Interrupted\n'
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.any_host
def test_ray_cluster_of_two_workers(write_spec, hsonet, tmp_path, tool_env, monkeypatch):
    pytest.importorskip('ray', reason='Ray is an extra')
    stub_report(monkeypatch)
    monkeypatch.setenv('PYTHONPATH', tool_env['PYTHONPATH'])
    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    spec, out = one_method(write_spec(tmp_path / 'spec.yaml', seeds=[3, 4])), tmp_path / 'out'
    code, stdout, stderr = leaderboard(hsonet, spec, out, '--engine', 'ray', '--workers', 2)
    assert code == 0, stderr
    assert stdout.index('seed 4: started') < stdout.index('changed F1')  # both at a time
    rows = rows_of(out, 'results', status='ok')
    assert {row['seed'] for row in rows} == {'3', '4'}
    (latency,) = {row['latency_ms'] for row in rows}  # measured by a process that Ray started, too
    assert float(latency) > 0
    assert '1 runs' not in stdout
