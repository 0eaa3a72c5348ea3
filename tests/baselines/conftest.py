"""Fixtures of the tests of baselines."""

import pytest
import torch
from mmengine.registry import DefaultScope

from hsonet_mm.opencd import (
    registry,
    stand_in,  # noqa: F401 (registers detectors and preprocessor beside the real Open-CD)
)


@pytest.fixture
def opencd_scope(request, monkeypatch):
    """Configs name Open-CD's components, which are ours here; weights are those of seed 0."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', type(DefaultScope._instance_dict)())
    DefaultScope.get_instance(request.node.name, scope_name=registry.SCOPE)
    torch.manual_seed(0)
