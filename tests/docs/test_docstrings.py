"""The examples in docstrings of losses run and print what they say."""

import doctest
import importlib

import pytest


@pytest.mark.any_host
@pytest.mark.parametrize('name', ['dice_loss', 'focal_loss', 'eo_loss'])
def test_examples_of_losses(name):
    found = doctest.testmod(importlib.import_module(f'hsonet_mm.models.losses.{name}'))
    assert found.attempted >= 2
    assert found.failed == 0
