"""The plot of a training's log."""

import json


def write_log(folder, records):
    path = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(record) + '\n' for record in records))


def test_draws_what_was_logged(run_tool, tmp_path):
    shares = {'eo_grad_foreground': 0.5, 'eo_grad_hard_background': 0.2, 'eo_grad_easy_background': 0.3}
    training = [{'step': step, 'loss': 0.1, 'eo_zeta': 1 - step / 40, **shares} for step in (10, 20, 30, 40)]
    validation = [{'step': step, 'changed/f1': 0.7, 'changed/best_f1': 0.8} for step in (20, 40)]
    write_log(tmp_path, training + validation)
    pictures = []
    for name in ('one.svg', 'two.svg'):
        done = run_tool('tools/plot_training.py', tmp_path, '-o', tmp_path / name)
        assert done.returncode == 0, done.stderr
        pictures.append((tmp_path / name).read_text())
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


def test_no_log_is_one_sentence(run_tool, tmp_path):
    done = run_tool('tools/plot_training.py', tmp_path, '-o', tmp_path / 'curve.svg')
    assert done.returncode == 2
    assert done.stderr.startswith(f'error: {tmp_path} holds no log')
    assert not (tmp_path / 'curve.svg').exists()
