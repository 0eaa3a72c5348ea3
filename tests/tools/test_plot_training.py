"""The plot of a training's log."""

import json
import runpy
import sys

import pytest

pytestmark = pytest.mark.any_host


@pytest.fixture
def plot(repo, monkeypatch, capsys):
    """A function that runs the tool in this process: exit code, stderr."""
    main = runpy.run_path(str(repo / 'tools' / 'plot_training.py'))['main']

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['plot_training.py', *map(str, args)])
        return main(), capsys.readouterr().err

    return run


def write_log(folder, records, time='000000'):
    path = folder / f'20260101_{time}' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(record) + '\n' for record in records))
    return path


def test_draws_what_was_logged(run_tool, plot, tmp_path):
    shares = {'eo_grad_foreground': 0.5, 'eo_grad_hard_background': 0.2, 'eo_grad_easy_background': 0.3}
    training = [{'step': step, 'loss': 0.1, 'eo_zeta': 1 - step / 40, **shares} for step in (10, 20, 30, 40)]
    validation = [{'step': step, 'changed/f1': 0.7, 'changed/best_f1': 0.8} for step in (20, 40)]
    write_log(tmp_path, training + validation)
    done = run_tool('tools/plot_training.py', tmp_path, '-o', tmp_path / 'one.svg')
    assert done.returncode == 0, done.stderr
    assert plot(tmp_path, '-o', tmp_path / 'two.svg') == (0, '')
    pictures = [(tmp_path / name).read_text() for name in ('one.svg', 'two.svg')]
    for label in (
        'at 0.5',
        'at the best threshold',
        'foreground',
        'hard background',
        'easy background',
        'zeta',
    ):
        assert label in pictures[0]
    assert pictures[0] == pictures[1]


def test_killed_and_resumed_is_drawn_as_if_never_killed(plot, tmp_path):
    """The last line cut off, and an iteration that came twice."""
    logs = [{'step': step, 'changed/f1': step / 100, 'changed/best_f1': step / 50} for step in (10, 20, 30)]
    write_log(tmp_path / 'whole', logs)
    killed = write_log(tmp_path / 'killed', [logs[0], {**logs[1], 'changed/f1': 0.9}])
    with killed.open('a') as file:
        file.write('{"step": 30, "chan')
    write_log(tmp_path / 'killed', logs[1:], '111111')
    for name in ('whole', 'killed'):
        assert plot(tmp_path / name, '-o', tmp_path / 'new' / f'{name}.svg') == (0, '')
    assert (tmp_path / 'new/killed.svg').read_text() == (tmp_path / 'new/whole.svg').read_text()


def test_last_of_several_trainings_is_drawn(plot, tmp_path):
    first, second, resumed = (
        [{'step': step, 'changed/f1': f1, 'changed/best_f1': f1} for step in steps]
        for steps, f1 in (((10, 20, 30, 40), 0.9), ((15, 30), 0.1), ((30, 45), 0.2))
    )
    write_log(tmp_path / 'alone', [second[0], *resumed])
    for time, records, resume in (('0', first, False), ('1', second, False), ('2', resumed, True)):
        path = write_log(tmp_path / 'after', records, time)
        path.with_name('config.py').write_text(f'load_from = None\nresume = {resume}\n')
    for name in ('alone', 'after'):
        assert plot(tmp_path / name, '-o', tmp_path / f'{name}.svg') == (0, '')
    assert (tmp_path / 'after.svg').read_text() == (tmp_path / 'alone.svg').read_text()


def test_no_log_is_one_sentence(plot, tmp_path):
    code, error = plot(tmp_path, '-o', tmp_path / 'curve.svg')
    assert code == 2
    assert error.startswith(f'error: {tmp_path} contains no log')
    assert not (tmp_path / 'curve.svg').exists()


def test_picture_of_another_kind_is_one_sentence(plot, tmp_path):
    write_log(tmp_path, [{'step': 1, 'changed/f1': 0.7, 'changed/best_f1': 0.8}])
    code, error = plot(tmp_path, '-o', tmp_path / 'curve.txt')
    assert code == 2
    assert error.startswith(f"error: invalid output '{tmp_path / 'curve.txt'}': expected")
