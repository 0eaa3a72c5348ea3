"""The Siamese detector: order in memory, enlarged inputs."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from hsonet_mm.errors import UserError
from hsonet_mm.export.graph import PairToProbs, trace
from hsonet_mm.model_size import macs
from hsonet_mm.models.detectors import siam_encoder_decoder
from hsonet_mm.models.layers import PyramidDecoder


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


def test_without_a_gpu_weights_and_maps_are_in_channels_last_order(build):
    fast, plain = build('cpu'), build('cuda')
    kernels = [p for p in fast.parameters() if p.ndim == 4 and min(p.shape) > 1]
    assert kernels
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    assert all(p.is_contiguous() for p in plain.parameters())
    images = torch.randn(1, 6, 64, 96)
    with torch.no_grad():
        logits = fast(images)
        torch.testing.assert_close(logits, plain(images), rtol=1e-4, atol=1e-5)
        levels = fast.extract_feat(images)[:-1]  # the last one is the scene, one pixel
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x in levels)


def test_checkpoints_are_those_of_either_order(build, tmp_path):
    fast, plain = build('cpu'), build('cuda')
    torch.save(fast.state_dict(), tmp_path / 'fast.pth')
    for weight in plain.parameters():
        weight.data.zero_()
    plain.load_state_dict(torch.load(tmp_path / 'fast.pth', weights_only=True))
    assert all(torch.equal(p, q) for p, q in zip(fast.parameters(), plain.parameters(), strict=True))
    assert all(p.is_contiguous() for p in plain.parameters())


def test_decoder_keeps_the_order_of_its_levels():
    decoder = PyramidDecoder([4, 4], 8).eval()
    levels = [torch.randn(2, 4, size, size).to(memory_format=torch.channels_last) for size in (8, 4)]
    decoded = decoder(levels)
    assert decoded.is_contiguous(memory_format=torch.channels_last)
    finest, upsampled = decoder([levels[0], 0 * levels[1]]), decoder([0 * levels[0], levels[1]])
    nothing = decoder([0 * x for x in levels])
    torch.testing.assert_close(finest + upsampled - nothing, decoded)  # the mean of what each level gives


def test_exported_weights_are_in_the_default_order(build):
    network = build('cpu')
    program = trace(PairToProbs(network, 1.0).eval(), 64)
    assert all(weight.is_contiguous() for weight in program.state_dict.values())


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


def test_operations_are_counted_at_the_input_scale(build):
    plain, enlarged = build('cpu'), build('cpu', input_scale=2)
    assert macs(enlarged, (64, 64)) == macs(plain, (128, 128)) > 3 * macs(plain, (64, 64))


def test_input_scale_must_be_positive(build):
    with pytest.raises(UserError, match='input_scale 0'):
        build('cpu', input_scale=0)
