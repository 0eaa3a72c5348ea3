"""Schedules of a resumed training follow its config."""

import shutil

import pytest
from helpers import logged


def test_schedules_stretch_to_more_iterations(whole, hsonet, tmp_path):
    config, work = whole
    (tmp_path / 'work').mkdir()
    shutil.copy(work / 'iter_6.pth', tmp_path / 'work')
    for folder, resume in (('straight', ()), ('work', ('--resume',))):
        code, stdout, stderr = hsonet(
            'train', config, '--work-dir', tmp_path / folder, '--iters', 12, *resume
        )
        assert code == 0, stderr
    assert 'they follow the config from here' in stdout
    straight, resumed = logged(tmp_path / 'straight', 'lr'), logged(tmp_path / 'work', 'lr')
    assert resumed.keys() == set(range(7, 13))
    assert resumed == pytest.approx({step: straight[step] for step in resumed}, rel=1e-9)
    assert resumed[7] > resumed[11] > 0


def test_another_learning_rate_is_followed(whole, hsonet, tmp_path):
    config, work = whole
    args = (
        '--work-dir',
        tmp_path,
        '--resume',
        work / 'iter_3.pth',
        '--cfg-options',
        'optim_wrapper.optimizer.lr=1e-5',
        'auto_scale_lr.enable=True',
        'auto_scale_lr.base_batch_size=4',  # twice that of the training
    )
    assert hsonet('train', config, *args)[0] == 0
    before = logged(work, 'lr')  # of 1e-3
    assert logged(tmp_path, 'lr') == pytest.approx({step: before[step] / 200 for step in (4, 5, 6)})
    assert before[4] > 0


@pytest.mark.parametrize('begun', ['with schedules', 'without'])
def test_a_config_without_schedules_has_the_learning_rate_of_its_optimiser(begun, whole, hsonet, tmp_path):
    config, work = whole
    none = ('--cfg-options', 'param_scheduler=[]', 'optim_wrapper.optimizer.lr=3e-4')
    first = work / 'iter_3.pth'
    if begun == 'without':
        options = ('--iters', 3, '--cfg-options', 'param_scheduler=[]')
        assert hsonet('train', config, '--work-dir', tmp_path / 'first', *options)[0] == 0
        first = tmp_path / 'first/iter_3.pth'
    code, stdout, stderr = hsonet('train', config, '--work-dir', tmp_path, '--resume', first, *none)
    assert code == 0, stderr
    assert 'they follow the config from here (none; learning rate' in stdout
    assert logged(tmp_path, 'base_lr') == pytest.approx(dict.fromkeys((4, 5, 6), 3e-4))
