"""Logs for TensorBoard, Weights & Biases and MLflow: asked for, or missing."""

import sys

import pytest
from mmengine.config import Config

from hsonet_mm.engine.trackers import TRACKERS, add_tracker


@pytest.mark.parametrize('package', TRACKERS)
@pytest.mark.parametrize('way', ['option', 'config'])
def test_missing_package_is_a_sentence(package, way, write_config, hsonet, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    changes = {} if way == 'option' else {'visualizer.vis_backends': [{'type': TRACKERS[package][0]}]}
    config = write_config(tmp_path / 'c.py', changes)
    args = (f'--{package}',) if way == 'option' else ()
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'work', *args)
    assert code == 2
    assert f'pip install "hsonet_mm[{package}]"' in stderr


def test_other_tracker_that_is_missing_is_a_sentence(write_config, hsonet, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'clearml', None)
    config = write_config(tmp_path / 'c.py', {'visualizer.vis_backends': [{'type': 'ClearMLVisBackend'}]})
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'work')
    assert code == 2
    assert 'pip install clearml' in stderr


def test_own_backends_stay():
    cfg = Config({'visualizer': {'type': 'V', 'vis_backends': [{'type': 'LocalVisBackend'}]}})
    add_tracker(cfg, 'wandb')
    add_tracker(cfg, 'wandb')
    assert [one['type'] for one in cfg.visualizer.vis_backends] == ['LocalVisBackend', 'WandbVisBackend']


def test_backend_written_as_an_option(write_config, hsonet, tmp_path):
    option = "visualizer.vis_backends=[{'type':'WandbVisBackend'}]"
    code, _, stderr = hsonet('train', write_config(tmp_path / 'c.py'), '--cfg-options', option)
    assert code == 2
    assert '--wandb' in stderr
