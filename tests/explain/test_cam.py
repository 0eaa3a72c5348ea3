"""Grad-CAM against its definition."""

import numpy as np
import pytest

pytest.importorskip('captum')
pytest.importorskip('sklearn')
pytest.importorskip('matplotlib')

from made_up_networks import Model, Siamese, pair_of

from hsonet_mm.explain.activations import find_layer, layers
from hsonet_mm.explain.cam import grad_cam


@pytest.mark.parametrize('together', [True, False])
def test_grad_cam_equals_its_definition(together):
    model = Model(Siamese(together))
    batch = model.prepare(*pair_of())
    where = np.zeros((6, 8), bool)
    where[2:5, 1:4] = True
    found = layers(model, batch)
    layer = find_layer(found)
    assert (layer.name, layer.maps, layer.calls) == ('encoder', ('before', 'after'), 1 if together else 2)

    w, b = (one.detach().numpy() for one in model.network.encoder.parameters())
    v = model.network.classifier.weight.detach().numpy().ravel()
    x1, x2 = batch['inputs'].numpy()[0].reshape(2, 3, 6, 8)
    a1, a2 = (np.einsum('cd,dyx->cyx', w[:, :, 0, 0], x) + b[:, None, None] for x in (x1, x2))
    gradient = (
        v[:, None, None] * np.sign(a1 - a2) * where / where.sum()
    )  # of the mean over `where`, by a1; by a2 its negative
    expected = {
        name: np.maximum((sign * gradient.mean(axis=(1, 2), keepdims=True) * a).sum(axis=0), 0)
        for name, sign, a in (('before', 1, a1), ('after', -1, a2))
    }
    cam = grad_cam(model, batch, layer, where)
    assert list(cam) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(cam[name], values, rtol=1e-4, atol=1e-7)
    assert any(values.any() for values in expected.values())
    assert not model.network.encoder._forward_hooks


def test_maps_that_do_not_matter_are_zero():
    class Deaf(Siamese):
        def forward(self, pairs):
            t1, t2 = pairs.chunk(2, dim=1)
            self.encoder(t2)
            return self.classifier(self.encoder(t1))

    model = Model(Deaf(False))
    batch = model.prepare(*pair_of())
    found = layers(model, batch)
    assert found['encoder'].maps == ('after', 'before')  # in the order of the calls
    cam = grad_cam(model, batch, found['encoder'], np.ones((6, 8), bool))
    assert not cam['after'].any()
    assert cam['before'].any()
