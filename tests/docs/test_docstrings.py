"""The examples in docstrings of public entry points run and print what they say."""

import doctest
import importlib

import pytest


@pytest.mark.any_host
@pytest.mark.parametrize(
    'name',
    [
        'inference.detector',
        'models.losses.dice_loss',
        'models.losses.eo_loss',
        'models.losses.focal_loss',
    ],
)
def test_examples(name):
    if name == 'inference.detector':
        pytest.importorskip('onnxruntime')
    found = doctest.testmod(importlib.import_module(f'hsonet_mm.{name}'))
    assert found.attempted >= 2
    assert found.failed == 0
