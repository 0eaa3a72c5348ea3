"""TinyCD: weights of its encoder, and the variant of its authors."""

import os
import urllib.error
from pathlib import Path

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from opencd_baselines import build, model_config, needs_opencd

from hsonet_mm.baselines import opencd as opencd_names  # noqa: F401 (registers TinyCD as Open-CD does)
from hsonet_mm.baselines.tinycd import TinyCD, first_stages
from hsonet_mm.checkpoints import load_weights
from hsonet_mm.errors import UserError
from hsonet_mm.opencd import (
    stand_in,  # noqa: F401 (registers detectors and preprocessor)
)

ROOT = Path(__file__).parents[2]


# ImageNet weights of TinyCD -------------------------------------------------------------------------------


def tinycd(**fields):
    """The config of the backbone, changed."""
    return {**model_config('tinycd').backbone, **fields}


@pytest.fixture
def imagenet(tmp_path):
    """A file like torchvision's, with other numbers."""
    torch.manual_seed(5)
    weights = {
        f'features.{key}': torch.rand_like(w.float()) for key, w in first_stages().state_dict().items()
    }
    more = {'features.4.0.block.0.0.weight': torch.rand(336, 56, 1, 1), 'classifier.1.bias': torch.rand(1000)}
    file = tmp_path / 'efficientnet_b4.pth'
    torch.save({**weights, **more}, file)
    return file


def test_tinycd_starts_from_a_file(imagenet):
    model = build({**model_config('tinycd'), 'backbone': tinycd(pretrained=str(imagenet))})
    before = model.backbone._classify.state_dict()
    model.init_weights()
    published = torch.load(imagenet, weights_only=True)
    for key, weight in model.backbone._backbone.state_dict().items():
        assert torch.equal(weight, published[f'features.{key}'].to(weight.dtype)), key
    assert all(torch.equal(w, before[key]) for key, w in model.backbone._classify.state_dict().items())


def test_tinycd_downloads_when_a_training_starts_and_not_before(imagenet, monkeypatch):
    asked = []

    def download(filename, **kwargs):
        asked.append((filename, kwargs))
        return torch.load(imagenet, weights_only=True)

    monkeypatch.setattr(CheckpointLoader, 'load_checkpoint', download)
    scratch, model = build(tinycd()), build(tinycd(pretrained=True))
    scratch.init_weights()
    assert asked == []
    model.init_weights()
    ((address, kwargs),) = asked
    assert address.startswith('https://download.pytorch.org/models/efficientnet_b4_rwightman-')
    assert kwargs == {'map_location': 'cpu'}
    assert not torch.equal(model._backbone[0][0].weight, scratch._backbone[0][0].weight)


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


def test_tinycd_says_what_a_download_needs(monkeypatch):
    error = urllib.error.URLError(OSError(-2, 'Name or service not known'))
    monkeypatch.setattr('mmengine.runner.checkpoint.load_url', raising(error))
    with pytest.raises(
        UserError, match=r'cannot be downloaded \(no network\?.*model.backbone.pretrained=False'
    ) as told:
        build(tinycd(pretrained=True)).init_weights()
    assert '\n' not in str(told.value)


def test_tinycd_leaves_bugs_alone(monkeypatch):
    monkeypatch.setattr('mmengine.runner.checkpoint.load_url', raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        build(tinycd(pretrained=True)).init_weights()


class Payload:
    def __reduce__(self):
        return (os.getcwd, ())


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        ({'features.0.0.weight': torch.zeros(32, 3, 3, 3)}, "not torchvision's of efficientnet_b4"),
        ({}, "not torchvision's of efficientnet_b4"),
        ({'features.0.0.weight': Payload()}, 'more than tensors in it'),
        (None, 'cannot be found'),
    ],
)
def test_tinycd_refuses_other_files(content, told, tmp_path):
    file = tmp_path / 'weights.pth'
    if content is not None:
        torch.save(content, file)
    with pytest.raises(UserError, match=told) as caught:
        build(tinycd(pretrained=str(file))).init_weights()
    assert str(file) in str(caught.value)
    assert str(caught.value).endswith('or train from scratch with model.backbone.pretrained=False')


def test_tinycd_freezes_its_encoder():
    model = build(tinycd(freeze_backbone=True))
    frozen = {key.split('.')[0] for key, weight in model.named_parameters() if not weight.requires_grad}
    trained = {key.split('.')[0] for key, weight in model.named_parameters() if weight.requires_grad}
    assert frozen == {'_backbone'}
    assert trained == {'_first_mix', '_mixing_mask', '_up', '_classify'}


# The authors' TinyCD --------------------------------------------------------------------------------------


def test_authors_classifier_is_three_layers_of_which_the_last_is_linear():
    """By hand; its logits pass below what a PReLU of slope 0.25 lets pass."""
    backbone = build(model_config('tinycd_authors')).backbone
    first, second, last = backbone._classify._linears
    shapes = [tuple(layers[0].weight.shape) for layers in (first, second, last)]
    assert shapes == [(16, 32, 1, 1), (8, 16, 1, 1), (1, 8, 1, 1)]
    x = torch.randn(2, 32, 5, 7)
    pixels = x.permute(0, 2, 3, 1).reshape(-1, 32)
    for layers in (first, second):
        pixels = pixels @ layers[0].weight.flatten(1).T + layers[0].bias
        pixels = torch.where(pixels > 0, pixels, 0.25 * pixels)  # PReLU begins with 0.25
    logits = pixels @ last[0].weight.flatten(1).T + last[0].bias
    torch.testing.assert_close(backbone._classify(x), logits.view(2, 1, 5, 7))


def test_file_of_the_authors_fits(tmp_path):
    """As they save it: 279 tensors by the names of the network alone, without a detector."""
    torch.manual_seed(3)
    theirs = {
        key: torch.rand_like(w.float()) for key, w in TinyCD(3, classifier='authors').state_dict().items()
    }
    assert len(theirs) == 279
    assert {'_backbone.0.0.weight', '_mixing_mask.2._convmix.1.weight', '_classify._linears.2.0.bias'} < set(
        theirs
    )
    torch.save(theirs, tmp_path / 'levir_best.pth')
    model = build(model_config('tinycd_authors'))
    load_weights(model, tmp_path / 'levir_best.pth')
    loaded = model.state_dict()
    assert all(
        torch.equal(loaded[f'backbone.{key}'].float(), w.to(loaded[f'backbone.{key}'].dtype).float())
        for key, w in theirs.items()
    )
    with pytest.raises(UserError, match='does not fit the model'):
        load_weights(build(model_config('tinycd')), tmp_path / 'levir_best.pth')


def test_config_of_the_authors_differs_in_the_classifier_alone():
    theirs, opencds = model_config('tinycd_authors').to_dict(), model_config('tinycd').to_dict()
    assert theirs['backbone'].pop('classifier') == 'authors'
    assert theirs['backbone'].pop('type') == f'hsonet_mm.{opencds["backbone"].pop("type")}'
    assert theirs == opencds


# Beside Open-CD -------------------------------------------------------------------------------------------


@pytest.mark.opencd
@needs_opencd
def test_same_stochastic_depth_as_torchvision():
    """Probabilities of the blocks that add their input, which do not show in the outputs above."""
    torchvision = pytest.importorskip('torchvision')
    theirs = torchvision.models.efficientnet_b4(weights=None).features[:4]
    rates = [m.stochastic_depth.p for m in theirs.modules() if getattr(m, 'use_res_connect', False)]
    assert rates
    assert [m.drop_prob for m in first_stages().modules() if type(m).__name__ == 'DropPath'] == rates
