"""Baselines that Open-CD has, by their configs."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from hsonet_mm.opencd import (
    compat,
    stand_in,  # noqa: F401 (registers detectors and preprocessor)
)
from hsonet_mm.opencd.registry import MODELS, SCOPE

CONFIGS = Path(__file__).parents[2] / 'configs' / 'baselines'

needs_opencd = pytest.mark.skipif(not compat.OPENCD_AVAILABLE, reason='Open-CD is not in this environment')


def model_config(name):
    return Config.fromfile(CONFIGS / f'{name}.py').model


def build(config, scope=SCOPE):
    """A model with random weights; its unqualified types are those of the scope."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.root.build(config)
