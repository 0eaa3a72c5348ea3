"""The examples in docstrings of public entry points run and print what they say."""

import doctest
import importlib

import pytest

NEEDED = {
    'explain.cam': ['captum'],
    'explain.features': ['sklearn'],
    'explain.views': ['captum'],
    'inference.detector': ['onnxruntime'],
    'scenes.scene': ['onnxruntime', 'pyogrio', 'rasterio'],
}
"""Module: the optional packages that its examples need."""


@pytest.mark.any_host
@pytest.mark.parametrize(
    'name',
    [
        'datasets.change_dataset',
        'evaluation.change_metric',
        'explain.activations',
        'explain.cam',
        'explain.features',
        'explain.networks',
        'explain.views',
        'inference.detector',
        'models.decode_heads.fs_association_head',
        'models.losses.dice_loss',
        'models.losses.eo_loss',
        'models.losses.focal_loss',
        'models.necks.vfpn',
        'scenes.scene',
    ],
)
def test_examples(name, monkeypatch):
    # log messages carry the time, so they are no part of what an example prints
    monkeypatch.setattr('hsonet_mm.datasets.loading.print_log', lambda *_, **__: None)
    for package in NEEDED.get(name, ()):
        pytest.importorskip(package)
    found = doctest.testmod(importlib.import_module(f'hsonet_mm.{name}'))
    assert found.attempted >= 2
    assert found.failed == 0
