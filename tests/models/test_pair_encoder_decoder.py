"""Detectors of image pairs see enlarged inputs."""

import pytest
import torch
import torch.nn.functional as F

from hsonet_mm.errors import UserError
from hsonet_mm.export.graph import PairToProbs, trace
from hsonet_mm.model_size import macs


def probs(network, images):
    with torch.no_grad():
        return PairToProbs(network)(images)


def test_input_scale_enlarges_what_the_network_sees(build):
    plain, enlarged = build('cpu'), build('cpu', input_scale=2)
    images = 255 * torch.rand(1, 6, 64, 96)
    larger = F.interpolate(images, scale_factor=2, mode='bilinear')
    # At twice the size the finest maps lie on the grid of the images, so that no logit is interpolated.
    expected = plain.decode_head(plain.extract_feat((larger - 127) / 128))
    assert expected.shape[2:] == images.shape[2:]
    torch.testing.assert_close(probs(enlarged, images), expected.sigmoid(), rtol=1e-4, atol=1e-5)


def test_input_scale_holds_for_windows_and_exported_models(build):
    whole = build('cpu', input_scale=1.5)
    images = 255 * torch.rand(2, 6, 64, 64)
    exported = trace(PairToProbs(whole).eval(), 64).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(images), probs(whole, images), rtol=1e-4, atol=1e-5)
    slid = build('cpu', input_scale=1.5, test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(64, 64)))
    with torch.no_grad():
        scene = torch.cat([images[:1], images[1:]], dim=3)
        logits = slid.slide_inference((scene - 127) / 128, [{}])
        tiles = torch.cat(list(probs(whole, images)), dim=2)
        torch.testing.assert_close(logits.sigmoid()[0], tiles, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('scale', [1, 1.5])
def test_logits_have_the_size_of_the_input_whatever_the_image_was(scale, build):
    """A window is smaller than the image that the metainfo describes."""
    network = build('cpu', input_scale=scale)
    meta = {'ori_shape': (640, 640), 'img_shape': (640, 640), 'pad_shape': (640, 640)}
    with torch.no_grad():
        assert network.encode_decode(torch.rand(1, 6, 64, 96), [meta]).shape == (1, 1, 64, 96)
    assert meta['img_shape'] == (640, 640)


def test_operations_are_counted_at_the_input_scale(build):
    plain, enlarged = build('cpu'), build('cpu', input_scale=2)
    assert macs(enlarged, (64, 64)) == macs(plain, (128, 128)) > 3 * macs(plain, (64, 64))


@pytest.mark.parametrize('scale', [0, 0.01])
def test_input_scale_must_be_positive(build, scale):
    with pytest.raises(UserError, match=f'input_scale {scale}: expected a factor of at least 1/16'):
        build('cpu', input_scale=scale)
