"""Iterations, validations and schedules of a config."""

import pytest
from mmengine.config import Config

from hsonet_mm.config import read_config, set_iterations
from hsonet_mm.errors import UserError


def test_recipes_differ_in_the_learning_rates(repo):
    new, old = (Config.fromfile(repo / f'configs/recipes/{name}.py') for name in ('cpu', 'cpu_pretrained'))
    assert 'model' not in new
    assert 'custom_keys' not in new.optim_wrapper.paramwise_cfg
    assert old.optim_wrapper.paramwise_cfg.pop('custom_keys') == {'backbone': {'lr_mult': 0.3}}
    assert old.optim_wrapper.optimizer.pop('lr') < new.optim_wrapper.optimizer.pop('lr')
    assert old.to_dict() == new.to_dict()
    assert new.train_dataloader.batch_size == 4
    for split in ('train', 'val', 'test'):
        prefixes = new[f'{split}_dataloader'].dataset.data_prefix.values()
        assert {prefix.split('/')[0] for prefix in prefixes} == {split}


def test_validations_are_evenly_spaced(repo):
    cfg = Config.fromfile(repo / 'configs/recipes/cpu.py')
    for iterations, validations in ((10, 3), (2, 4), (4, 0)):
        with pytest.raises(
            UserError, match=f'^invalid number of validations {validations}: .* {iterations} iter'
        ):
            set_iterations(cfg, iterations, validations)
    set_iterations(cfg, 200, 4)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (200, 50)
    warm_up, decay = cfg.param_scheduler
    assert (warm_up.begin, warm_up.end, decay.begin, decay.end) == (0, 10, 10, 200)


@pytest.mark.parametrize(
    ('iterations', 'validations', 'interval'),
    [(200, None, 50), (None, 8, 50), (66, None, 22), (1, None, 1), (40, 1, 40)],
)
def test_iterations_of_configs_of_others(iterations, validations, interval):
    cfg = Config({
        'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 400, 'val_interval': 100},
        'param_scheduler': {'type': 'MultiStepLR', 'milestones': [100, 200], 'T_max': 400, 'by_epoch': False},
    })  # fmt: skip
    set_iterations(cfg, iterations, validations)
    total = 400 if iterations is None else iterations
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (total, interval)
    (scheduler,) = cfg.param_scheduler
    assert scheduler.T_max == total
    assert scheduler.milestones == [round(total / 4), round(total / 2)]


def test_a_misspelt_option_is_refused(repo):
    """MMEngine would add it to the config and heed nothing of it."""
    path = repo / 'configs/hsonet_lite_levir.py'
    with pytest.raises(UserError, match=r'^--cfg-options do not fit .*\(trian_dataloader is not a key of'):
        read_config(path, {'trian_dataloader.batch_size': 2})
    with pytest.raises(UserError, match='did you mean optim_wrapper'):
        read_config(path, {'optim_wraper.optimizer.lr': 2})
    cfg = read_config(path, {'auto_scale_lr.enable': True, 'tta_model': None})
    assert cfg.auto_scale_lr.enable  # MMEngine knows it, though the config does not name it


def test_every_kind_of_schedule_stretches():
    schedules = [
        {'type': 'OneCycleLR', 'total_steps': 1000, 'eta_max': 0.01},
        {'type': 'StepLR', 'step_size': 300},
        {'type': 'CosineRestartLR', 'periods': [335, 335, 330], 'restart_weights': [1, 1, 1]},
    ]
    cfg = Config({'train_cfg': {'max_iters': 1000, 'val_interval': 100}, 'param_scheduler': schedules})
    set_iterations(cfg, 100)
    one_cycle, step, restarts = cfg.param_scheduler
    assert (one_cycle.total_steps, step.step_size) == (100, 30)
    assert sum(restarts.periods) == 100
    assert all(32 <= period <= 34 for period in restarts.periods)


def test_iterations_of_a_training_by_epochs():
    with pytest.raises(UserError, match='trains by epochs'):
        set_iterations(Config({'train_cfg': {'max_epochs': 3}}), 10)
    with pytest.raises(UserError, match=r'^invalid --iters 0: expected'):
        set_iterations(Config({'train_cfg': {'max_iters': 3}}), 0)
