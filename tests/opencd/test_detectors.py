"""The stand-in's detectors: the contracts of Open-CD's, and windows."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from small_detectors import model_config, truth

from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import MODELS, SCOPE


def build(config: dict):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(SCOPE):
        return MODELS.build(config)


class TestDetectors:
    @pytest.mark.parametrize('kind', ['SiamEncoderDecoder', 'DIEncoderDecoder'])
    @pytest.mark.parametrize('out_channels', [1, 2])
    def test_loss_and_predict(self, kind, out_channels):
        model = build(model_config(kind, out_channels))
        losses = model.loss(torch.randn(2, 6, 32, 40), [truth(32, 40, 0), truth(32, 40, 1)])
        losses['decode.loss_ce'].backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not name.startswith(
                'backbone.layer2'
            ):  # the head reads the first level
                assert parameter.grad is not None, name
        model.eval()
        with torch.no_grad():
            (result,) = model.predict(
                torch.randn(1, 6, 32, 40), [truth(30, 40, img_padding_size=(0, 0, 0, 2))]
            )
        assert result.seg_logits.shape == (30, 40)
        assert result.seg_logits.data.shape[0] == out_channels
        if out_channels == 1:
            assert (
                0 <= result.seg_logits.data.min() <= result.seg_logits.data.max() <= 1
            )  # probabilities, as Open-CD
            expected = result.seg_logits.data > 0.5
        else:
            expected = result.seg_logits.data.argmax(0, keepdim=True)
        assert torch.equal(result.pred_sem_seg.data.long(), expected.long())

    def test_threshold_of_the_head_decides(self):
        model = build(model_config()).eval()
        inputs = torch.randn(1, 6, 32, 32)
        for threshold in (0.1, 0.9):
            model.decode_head.threshold = threshold
            with torch.no_grad():
                (result,) = model.predict(inputs)
            assert torch.equal(result.pred_sem_seg.data.bool(), result.seg_logits.data > threshold)

    def test_the_dates_go_to_one_backbone_and_in_order_to_the_neck(self):
        model = build(model_config()).eval()
        t1, t2 = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 32)
        feats = model.extract_feat(torch.cat([t1, t2], dim=1))
        torch.testing.assert_close(feats[0], torch.cat([model.backbone(t1)[0], model.backbone(t2)[0]], dim=1))

    def test_two_date_backbone_and_optional_neck(self):
        plain = build(model_config('DIEncoderDecoder'))
        halved = build(model_config('DIEncoderDecoder', neck={'type': 'HalvingNeck'}))
        halved.load_state_dict(plain.state_dict())
        inputs = torch.randn(1, 6, 16, 16)
        torch.testing.assert_close(halved.extract_feat(inputs)[0], plain.extract_feat(inputs)[0] / 2)

    def test_more_channels_a_date(self):
        config = model_config(backbone_inchannels=4)
        config.backbone.in_channels = 4
        assert build(config)(torch.randn(2, 8, 32, 32)).shape[:2] == (2, 1)

    def test_without_neck(self):
        config = model_config()
        config.pop('neck')
        with pytest.raises(UserError, match='needs a neck'):
            build(config)


class Recorder:
    """Stands for the network in sliding-window tests: gives the mean of the dates, records the windows."""

    def __init__(self, detector) -> None:
        self.windows: list[tuple[int, int]] = []
        self.shapes: list[tuple[int, ...]] = []
        detector.encode_decode = self

    def __call__(self, inputs, _):
        self.windows.append((int(inputs[0, 0, 0, 0]), int(inputs[0, 1, 0, 0])))
        self.shapes.append(tuple(inputs.shape[2:]))
        return inputs.mean(dim=1, keepdim=True)


class TestSlidingWindow:
    def slide(self, rows, columns, crop, stride):
        model = build(model_config()).eval()
        model.test_cfg = ConfigDict(mode='slide', crop_size=crop, stride=stride)
        recorder = Recorder(model)
        r, c = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
        inputs = torch.stack([r, c, r, c, r, c]).float()[None].repeat(2, 1, 1, 1)
        metas = [{'ori_shape': (rows, columns), 'img_shape': (rows, columns)}] * 2
        logits = model.inference(inputs, metas)
        assert metas[0] == {'ori_shape': (rows, columns), 'img_shape': (rows, columns)}
        torch.testing.assert_close(logits, inputs.mean(dim=1, keepdim=True))
        return recorder

    def test_windows_cover_and_stay_inside(self):
        recorder = self.slide(20, 33, (8, 16), (8, 10))
        assert recorder.windows == [(top, left) for top in (0, 8, 12) for left in (0, 10, 17)]
        assert set(recorder.shapes) == {(8, 16)}

    @pytest.mark.parametrize(
        ('rows', 'columns', 'windows'), [(8, 16, 1), (8, 17, 2), (5, 9, 1), (16, 32, 4), (5, 40, 3)]
    )
    def test_number_of_windows(self, rows, columns, windows):
        assert len(self.slide(rows, columns, (8, 16), (8, 16)).windows) == windows

    @pytest.mark.parametrize('stride', [(9, 16), (8, 17)])
    def test_gaps_between_windows(self, stride):
        with pytest.raises(UserError, match=r'^invalid stride .*: expected at most the crop_size'):
            self.slide(20, 33, (8, 16), stride)

    def test_window_without_a_size(self):
        model = build(model_config()).eval()
        model.test_cfg = ConfigDict(mode='slide', stride=(8, 8))
        with pytest.raises(UserError, match=r"mode='slide' lacks crop_size: add"):
            model.inference(torch.zeros(1, 6, 32, 32), [{'ori_shape': (32, 32), 'img_shape': (32, 32)}])

    def test_one_window_equals_the_whole_image(self):
        model = build(model_config()).eval()
        inputs = torch.randn(2, 6, 32, 48)
        with torch.no_grad():
            whole = model.predict(inputs)
            model.test_cfg = ConfigDict(mode='slide', crop_size=(64, 64), stride=(32, 32))
            slid = model.predict(inputs)
        for one, other in zip(whole, slid, strict=True):
            torch.testing.assert_close(one.seg_logits.data, other.seg_logits.data)

    def test_memory_does_not_grow_with_windows_times_image(self):
        """No tensor of the size of the image is made for a window."""
        from torch.utils._python_dispatch import TorchDispatchMode

        class Count(TorchDispatchMode):
            large = 0

            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                out = func(*args, **(kwargs or {}))
                inputs = {arg.untyped_storage().data_ptr() for arg in args if isinstance(arg, torch.Tensor)}
                if isinstance(out, torch.Tensor) and out.numel() >= 64 * 64:
                    self.large += out.untyped_storage().data_ptr() not in inputs
                return out

        model = build(model_config()).eval()
        model.test_cfg = ConfigDict(mode='slide', crop_size=(8, 8), stride=(8, 8))
        Recorder(model)
        inputs = torch.zeros(1, 6, 64, 64)
        with Count() as count:
            model.slide_inference(inputs, [{'img_shape': (64, 64)}])
        assert count.large == 2  # logits and counts, once; not once for each of the 64 windows
