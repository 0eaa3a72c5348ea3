"""Fixtures of the tests of models."""

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, DefaultScope

from hsonet_mm.models.detectors import siam_encoder_decoder


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def build(write_config, tmp_path, monkeypatch):
    def build(device, **options):
        monkeypatch.setattr(siam_encoder_decoder, 'get_device', lambda: device)
        cfg = Config.fromfile(str(write_config(tmp_path / f'{device}.py')))
        cfg.model.update(options)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('opencd'):
            return MODELS.build(cfg.model).eval()

    return build


@pytest.fixture
def training():
    """A function (iter, max_iters, cfg) that publishes what a runner does."""

    def publish(step, steps, cfg=None):
        hub = MessageHub.get_instance(f'test_eo_loss_{id(publish)}')
        hub.update_info('iter', step)
        hub.update_info('max_iters', steps)
        hub.update_info('loop_stage', 'train')
        if cfg is not None:
            hub.update_info('cfg', cfg)
        return hub

    yield publish
    MessageHub._instance_dict.clear()


@pytest.fixture
def outside():
    MessageHub._instance_dict.clear()
    yield
    MessageHub._instance_dict.clear()
