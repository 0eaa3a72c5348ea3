"""Layers by the dates they depend on, relation maps, and the input of the classifier."""

import re

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('captum')
pytest.importorskip('sklearn')
pytest.importorskip('matplotlib')

from made_up_networks import Model, Siamese, pair_of

from hsonet_mm.errors import UserError
from hsonet_mm.explain.activations import classifier_input, find_layer, layers, relation_maps
from hsonet_mm.explain.networks import open_network, prepare_pair
from hsonet_mm.images import ImagePair
from hsonet_mm.models.layers import SceneAssociation


def test_layers_know_their_dates():
    model = Model(Siamese(True))
    found = layers(model, model.prepare(*pair_of()))
    assert {name: layer.maps for name, layer in found.items()} == {
        'encoder': ('before', 'after'),
        'classifier': ('both dates',),
    }
    early = nn.Sequential(nn.Conv2d(6, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 5, 1))
    mixed = Model(nn.Sequential(nn.Conv2d(6, 5, 1), nn.ReLU(), nn.Conv2d(5, 1, 1)))
    found = layers(mixed, mixed.prepare(*pair_of()))
    assert find_layer(found).name == '1'  # no layer keeps the dates apart: the last before the classifier
    pooled = Model(early)
    assert list(layers(pooled, pooled.prepare(*pair_of()))) == ['0']  # single values are no maps


def test_unknown_layer_names_those_there_are():
    model = Model(nn.Sequential(nn.Sequential(nn.Conv2d(6, 5, 1), nn.ReLU()), nn.Conv2d(5, 1, 1)))
    found = layers(model, model.prepare(*pair_of()))
    with pytest.raises(UserError, match=r"^invalid --layer '7': expected .* such as 0, 1, or"):
        find_layer(found, '7')
    assert find_layer(found, '0.1').name == '0.1'


def test_relation_maps_are_those_of_the_head(tiny_network, tiny_pair):
    model, batch = tiny_network.model, prepare_pair(tiny_network, tiny_pair)
    (association,) = (one for one in model.network.modules() if isinstance(one, SceneAssociation))
    outputs = {}
    handles = [
        one.register_forward_hook(lambda module, _, output: outputs.setdefault(module, output))
        for one in (*association.scene_encoders, *association.content_encoders)
    ]
    maps = relation_maps(model, batch)
    for handle in handles:
        handle.remove()
    assert list(maps) == ['p2', 'p3', 'p4', 'p5']
    for (level, relation), scene, content in zip(
        maps.items(), association.scene_encoders, association.content_encoders, strict=True
    ):
        stride = 2 ** int(level[1])
        assert relation.shape == (2, 96 // stride, 288 // stride)
        dots = np.einsum('nc,nchw->nhw', outputs[scene][..., 0, 0].detach(), outputs[content].detach())
        scaled = dots / outputs[content].shape[1] ** 0.5
        np.testing.assert_allclose(relation, 1 / (1 + np.exp(-scaled)), rtol=1e-4)
    turned = relation_maps(model, prepare_pair(tiny_network, ImagePair(tiny_pair.t2, tiny_pair.t1, None)))
    for level, relation in maps.items():
        torch.testing.assert_close(turned[level], relation.flip(0))


def test_no_relation_to_the_scene_is_one_half(tiny_checkpoint, tiny_pair):
    network = open_network('tiny', *tiny_checkpoint)
    for name, weight in network.model.network.named_parameters():
        if re.search(r'scene_encoders\.\d+\.2\.', name):
            nn.init.zeros_(weight)
    maps = relation_maps(network.model, prepare_pair(network, tiny_pair))
    assert len(maps) == 4
    assert all((relation == 0.5).all() for relation in maps.values())


def test_log_odds_are_those_of_the_prediction(tiny_network, tiny_pair):
    with torch.no_grad():
        log_odds = tiny_network.model.log_odds(prepare_pair(tiny_network, tiny_pair))[0]
    probs = tiny_network.detector.predict_pair(tiny_pair).probs
    np.testing.assert_allclose(log_odds.sigmoid(), probs, atol=1e-6)


def test_classifier_input_of_the_tiny_network(tiny_network, tiny_pair):
    """Classified by hand, the features give the log-odds of the finest map."""
    model, batch = tiny_network.model, prepare_pair(tiny_network, tiny_pair)
    head = model.network.decode_head
    with torch.no_grad():
        expected = head(model.network.extract_feat(batch['inputs']))[0]
        torch.testing.assert_close(head.conv_seg(classifier_input(model, batch)[None])[0], expected)
