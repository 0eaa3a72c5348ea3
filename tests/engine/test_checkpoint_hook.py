"""ChangeCheckpointHook: which checkpoint is the best, what checkpoints carry, and which stay in the folder."""

import re
import shutil

import pytest
import torch

from hsonet_mm.evaluation import ChangeMetric

STEPS = {'train_cfg.max_iters': 4, 'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 2}


@pytest.fixture
def validations(monkeypatch):
    """A function that sets what the next validations say: pairs of the best F1 and its threshold; F1 at 0.5 is 0."""

    def say(*pairs):
        figures = iter([{'f1': 0.0, 'best_f1': f1, 'best_threshold': at} for f1, at in pairs])
        monkeypatch.setattr(ChangeMetric, 'compute_metrics', lambda *_: next(figures))

    return say


def best(folder):
    return sorted(path.name for path in folder.glob('best*.pth'))


def meta(path):
    return torch.load(path, weights_only=True)['meta']


def test_best_at_its_threshold_which_all_checkpoints_carry(write_config, hsonet, validations, tmp_path):
    """A network that is below 0.5 everywhere does not keep its first checkpoint."""
    config, work = write_config(tmp_path / 'c.py', STEPS), tmp_path / 'work'
    validations((0.25, 0.125), (0.5, 0.0625))
    code, stdout, stderr = hsonet('train', config, '--work-dir', work)
    assert code == 0, stderr
    assert best(work) == ['best_changed_f1_iter_4.pth']
    assert 'The best checkpoint with 0.5000 changed/best_f1 at 4 iter' in stdout + stderr
    assert re.search(r'best_changed_f1_iter_4\.pth \(changed F1 0\.5000 at threshold 0\.062, which', stdout)
    first, last = ({'value': at, 'f1': f1, 'iter': i} for at, f1, i in ((0.125, 0.25, 2), (0.0625, 0.5, 4)))
    assert meta(work / 'iter_2.pth')['val_threshold'] == first
    assert meta(work / 'iter_4.pth')['val_threshold'] == last
    assert meta(work / best(work)[0])['val_threshold'] == last


def test_checkpoint_of_a_worse_validation_carries_its_own_threshold(
    write_config, hsonet, validations, tmp_path
):
    config, work = write_config(tmp_path / 'c.py', STEPS), tmp_path / 'work'
    validations((0.5, 0.25), (0.25, 0.75))
    assert hsonet('train', config, '--work-dir', work)[0] == 0
    assert best(work) == ['best_changed_f1_iter_2.pth']
    assert meta(work / 'iter_4.pth')['val_threshold'] == {'value': 0.75, 'f1': 0.25, 'iter': 4}


def test_nothing_found_is_no_threshold(write_config, hsonet, validations, tmp_path):
    config = write_config(tmp_path / 'c.py', STEPS)
    validations((0.5, 0.25), (0.0, 0.5))
    assert hsonet('train', config, '--work-dir', tmp_path / 'work')[0] == 0
    assert not meta(tmp_path / 'work/iter_4.pth').get('val_threshold')


def test_checkpoints_of_an_earlier_training_are_put_aside(write_config, hsonet, validations, tmp_path):
    config, work = write_config(tmp_path / 'c.py', STEPS), tmp_path / 'work'
    validations((0.25, 0.5), (0.5, 0.5))
    assert hsonet('train', config, '--work-dir', work)[0] == 0
    (work / 'best_changed_f1_iter_4.pth.calibration.json').write_text('{}')
    validations((0.25, 0.5))
    code, stdout, _ = hsonet('train', config, '--work-dir', work, '--cfg-options', 'train_cfg.max_iters=2')
    assert code == 0
    assert best(work) == ['best_changed_f1_iter_2.pth']
    (aside,) = work.glob('earlier_*')
    expected = {'iter_2.pth', 'iter_4.pth', 'best_changed_f1_iter_4.pth'}
    assert {path.name for path in aside.iterdir()} == expected | {
        'best_changed_f1_iter_4.pth.calibration.json'
    }
    assert f'they are moved to {aside}' in stdout


def test_older_best_goes_after_a_resume_elsewhere(write_config, hsonet, validations, tmp_path):
    """The checkpoint names its best by the old folder."""
    config = write_config(tmp_path / 'c.py', STEPS)
    validations((0.25, 0.5))
    two = ('--cfg-options', 'train_cfg.max_iters=2')
    assert hsonet('train', config, '--work-dir', tmp_path / 'old', *two)[0] == 0
    (tmp_path / 'old').rename(tmp_path / 'new')
    # One that no checkpoint names: a kill came between saving it and removing it.
    shutil.copy(tmp_path / 'new/best_changed_f1_iter_2.pth', tmp_path / 'new/best_changed_f1_iter_1.pth')
    validations((0.5, 0.5))
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'new', '--resume')
    assert code == 0, stderr
    assert best(tmp_path / 'new') == ['best_changed_f1_iter_4.pth']


def test_best_of_another_folder_is_left_alone(write_config, hsonet, validations, tmp_path):
    config, old = write_config(tmp_path / 'c.py', STEPS), tmp_path / 'old'
    validations((0.75, 0.5))
    assert hsonet('train', config, '--work-dir', old, '--cfg-options', 'train_cfg.max_iters=2')[0] == 0
    validations((0.5, 0.5))
    args = ('--work-dir', tmp_path / 'new', '--resume', old / 'iter_2.pth')
    code, _, stderr = hsonet('train', config, *args)
    assert code == 0, stderr
    assert best(old) == ['best_changed_f1_iter_2.pth']
    assert best(tmp_path / 'new') == ['best_changed_f1_iter_4.pth']
