"""The stand-in for Open-CD: contracts of its transforms, preprocessor, detectors, visualiser and registries.

Beside the real Open-CD the stand-in registers in a scope of its own, so these tests run everywhere.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from hsonet_mm.baselines import opencd as opencd_baselines
from hsonet_mm.datasets import ChangeDataset
from hsonet_mm.errors import UserError
from hsonet_mm.models import VFPN
from hsonet_mm.opencd import data_preprocessor, datasets, feature_fusion, stand_in, transforms
from hsonet_mm.opencd.registry import DATASETS, HOOKS, MODELS, SCOPE, TRANSFORMS, VISUALIZERS

SIZE = (24, 32)


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002 (what the transforms draw from)


def sample(rows: int = SIZE[0], columns: int = SIZE[1]) -> dict:
    """A sample whose pixels hold their row and column; the label is changed where both are even."""
    r, c = np.mgrid[:rows, :columns].astype(np.uint8)
    t1 = np.stack([r, c, r * 0], axis=2)
    return {
        'img': [t1, t1 + np.uint8(100)],
        'img_path': ['A/x.png', 'B/x.png'],
        'seg_map_path': 'label/x.png',
        'gt_seg_map': ((r % 2 == 0) & (c % 2 == 0)).astype(np.uint8),
        'seg_fields': ['gt_seg_map'],
        'img_shape': (rows, columns),
        'ori_shape': (rows, columns),
    }


def assert_aligned(results: dict) -> None:
    t1, t2 = results['img']
    np.testing.assert_array_equal(t2, t1 + np.uint8(100))
    np.testing.assert_array_equal(results['gt_seg_map'], (t1[..., 0] % 2 == 0) & (t1[..., 1] % 2 == 0))


class TestTransforms:
    def test_flip_exact(self):
        for direction, expected in (('horizontal', np.s_[:, ::-1]), ('vertical', np.s_[::-1])):
            results = transforms.MultiImgRandomFlip(prob=1.0, direction=direction).transform(sample())
            for after, before in zip(results['img'], sample()['img'], strict=True):
                np.testing.assert_array_equal(after, before[expected])
            np.testing.assert_array_equal(results['gt_seg_map'], sample()['gt_seg_map'][expected])
            assert results['flip'] is True
            assert results['flip_direction'] == direction

    def test_flip_is_shared_and_sometimes_none(self):
        flip = transforms.MultiImgRandomFlip(prob=0.5, direction='horizontal')
        results = [flip.transform(sample()) for _ in range(30)]
        for result in results:
            assert_aligned(result)
        assert {result['flip'] for result in results} == {True, False}

    def test_crop_is_shared(self):
        crop = transforms.MultiImgRandomCrop(crop_size=(8, 8))
        corners = set()
        for _ in range(20):
            results = crop.transform(sample())
            assert_aligned(results)
            assert results['img_shape'] == (8, 8)
            corners.add(tuple(results['img'][0][0, 0, :2].tolist()))
        assert len(corners) > 10

    def test_crop_avoids_one_category(self):
        shares = []
        for ratio in (1.0, 0.75):
            crop = transforms.MultiImgRandomCrop(crop_size=(8, 8), cat_max_ratio=ratio)
            found = 0
            for _ in range(40):
                before = sample()
                before['gt_seg_map'] = np.zeros(SIZE, np.uint8)
                before['gt_seg_map'][:8, :8] = 1
                found += crop.transform(before)['gt_seg_map'].mean() > 0.25
            shares.append(found / 40)
        assert shares[1] > 2 * shares[0]

    def test_rotation_is_shared(self):
        rotate = transforms.MultiImgRandomRotate(prob=1.0, degree=180, pad_val=0, seg_pad_val=255)
        before = sample()
        before['img'] = [np.full((*SIZE, 3), 9, np.uint8)] * 2
        before['gt_seg_map'][:] = 1
        results = rotate.transform(before)
        np.testing.assert_array_equal(results['img'][0], results['img'][1])
        outside = results['gt_seg_map'] == 255
        assert 0 < outside.sum() < outside.size
        assert (results['img'][0][outside] == 0).mean() > 0.8
        assert (results['img'][0][~outside] == 9).mean() > 0.8

    def test_resize(self):
        before = {**sample(), 'gt_seg_map': (sample()['img'][0][..., 0] >= 12).astype(np.uint8)}
        results = transforms.MultiImgResize(scale=(64, 48)).transform(before)
        assert [image.shape for image in results['img']] == [(48, 64, 3)] * 2
        assert results['scale_factor'] == (2.0, 2.0)
        np.testing.assert_array_equal(results['gt_seg_map'], np.mgrid[:48, :64][0] >= 24)

    def test_labels_loaded_after_the_resize_keep_their_size(self):
        before = {key: value for key, value in sample().items() if key != 'gt_seg_map'} | {'seg_fields': []}
        results = transforms.MultiImgResize(scale=(64, 64), keep_ratio=True).transform(before)
        assert results['img'][1].shape == (48, 64, 3)
        assert results['ori_shape'] == SIZE
        assert results['seg_fields'] == []

    def test_exchange(self):
        before = sample()
        np.testing.assert_array_equal(
            transforms.MultiImgExchangeTime(prob=1.0).transform(sample())['img'], before['img'][::-1]
        )
        np.testing.assert_array_equal(
            transforms.MultiImgExchangeTime(prob=0.0).transform(sample())['img'], before['img']
        )

    def test_photometric_distortion_is_independent_and_leaves_the_label(self):
        distort = transforms.MultiImgPhotoMetricDistortion()
        differ = 0
        for _ in range(10):
            before = sample()
            before['img'] = [np.full((8, 8, 3), (60, 120, 180), np.uint8)] * 2
            results = distort.transform(before)
            differ += (results['img'][0] != results['img'][1]).any()
            np.testing.assert_array_equal(results['gt_seg_map'], sample()['gt_seg_map'])
        assert differ >= 8

    @pytest.mark.parametrize('consistent', [True, False])
    def test_order_of_contrast(self, monkeypatch, consistent):
        distort = transforms.MultiImgPhotoMetricDistortion(consistent_contrast_mode=consistent)
        steps: list[str] = []
        for name in ('brightness', 'contrast', 'saturation', 'hue'):
            monkeypatch.setattr(distort, name, lambda image, name=name: steps.append(name) or image)
        orders = set()
        for _ in range(20):
            steps.clear()
            distort.transform(sample())
            assert steps[0] == steps[4] == 'brightness'
            orders.add((steps.index('contrast'), steps[4:].index('contrast')))
        assert orders == ({(1, 1), (3, 3)} if consistent else {(1, 1), (3, 3), (1, 3), (3, 1)})

    def test_pack(self):
        packed = transforms.MultiImgPackSegInputs().transform({**sample(), 'flip': True, 'unknown': 1})
        assert packed['inputs'].shape == (6, *SIZE)
        assert packed['inputs'].dtype == torch.uint8
        for channel, (date, band) in enumerate((d, b) for d in range(2) for b in range(3)):
            np.testing.assert_array_equal(packed['inputs'][channel], sample()['img'][date][..., band])
        truth = packed['data_samples']
        assert truth.gt_sem_seg.data.shape == (1, *SIZE)
        assert truth.gt_sem_seg.data.dtype == torch.int64
        assert truth.metainfo == {
            'img_path': ['A/x.png', 'B/x.png'],
            'seg_map_path': 'label/x.png',
            'img_shape': SIZE,
            'ori_shape': SIZE,
            'flip': True,
        }

    def test_they_pickle_after_use(self):
        crop = transforms.MultiImgRandomCrop(crop_size=8)
        crop.transform(sample())
        assert_aligned(pickle.loads(pickle.dumps(crop)).transform(sample()))

    def test_every_name_is_registered(self):
        ours = {
            name: getattr(module, name)
            for module in (*stand_in.MODULES, opencd_baselines)
            for name in module.__all__
            if name != 'NAMES'
        }
        ours |= {'FarSegFPN': VFPN, **dict.fromkeys(datasets.NAMES, ChangeDataset)}
        for name, component in ours.items():
            registries = (DATASETS, HOOKS, MODELS, TRANSFORMS, VISUALIZERS)
            found = [registry.get(f'{SCOPE}.{name}') for registry in registries]
            assert component in found or name == 'CDLocalVisBackend'
        for name in ('MultiImgLoadImageFromFile', 'MultiImgLoadAnnotations'):
            assert TRANSFORMS.get(name).__module__ == 'hsonet_mm.datasets.loading'


def truth(rows: int, columns: int, value: int = 1, **meta) -> SegDataSample:
    data_sample = SegDataSample(metainfo={'ori_shape': (rows, columns), 'img_shape': (rows, columns), **meta})
    data_sample.gt_sem_seg = PixelData(data=torch.full((1, rows, columns), value))
    return data_sample


class TestPreprocessor:
    mean, std = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 4.0, 1.0, 2.0, 4.0]

    def build(self, **kwargs) -> data_preprocessor.DualInputSegDataPreProcessor:
        return data_preprocessor.DualInputSegDataPreProcessor(
            **{'mean': self.mean, 'std': self.std, 'bgr_to_rgb': True, **kwargs}
        )

    def test_numbers(self):
        pair = torch.arange(6, dtype=torch.uint8).view(6, 1, 1) * 10
        result = self.build()({'inputs': [pair]})['inputs']
        expected = (torch.tensor([20.0, 10, 0, 50, 40, 30]) - torch.tensor(self.mean)) / torch.tensor(
            self.std
        )
        torch.testing.assert_close(result.flatten(), expected)
        plain = data_preprocessor.DualInputSegDataPreProcessor()({'inputs': [pair]})['inputs']
        torch.testing.assert_close(plain.flatten(), torch.arange(6.0) * 10)

    def test_nothing_of_it_is_in_the_state_dict(self):
        assert self.build().state_dict() == {}

    @pytest.mark.parametrize(
        ('padding', 'shape'), [({'size_divisor': 8}, (16, 24)), ({'size': (20, 30)}, (20, 30))]
    )
    def test_training_pads_right_and_bottom(self, padding, shape):
        pairs = [torch.ones(6, 10, 20, dtype=torch.uint8), torch.ones(6, 12, 18, dtype=torch.uint8)]
        samples = [truth(10, 20), truth(12, 18)]
        preprocessor = data_preprocessor.DualInputSegDataPreProcessor(pad_val=7, seg_pad_val=255, **padding)
        result = preprocessor({'inputs': pairs, 'data_samples': samples}, training=True)
        assert result['inputs'].shape == (2, 6, *shape)
        for image, data_sample, (rows, columns) in zip(
            result['inputs'], result['data_samples'], ((10, 20), (12, 18)), strict=True
        ):
            inside = torch.zeros(shape, dtype=torch.bool)
            inside[:rows, :columns] = True
            assert (image[:, inside] == 1).all()
            assert (image[:, ~inside] == 7).all()
            assert (data_sample.gt_sem_seg.data[0][inside] == 1).all()
            assert (data_sample.gt_sem_seg.data[0][~inside] == 255).all()

    def test_batch_augments(self):
        preprocessor = self.build(size_divisor=1, batch_augments=lambda batch, samples: (batch * 0, samples))
        result = preprocessor({'inputs': [torch.ones(6, 4, 4)], 'data_samples': [truth(4, 4)]}, training=True)
        assert result['inputs'].abs().max() == 0

    def test_evaluation(self):
        preprocessor = self.build(size_divisor=99, test_cfg={'size_divisor': 8})
        samples = [truth(10, 20), truth(10, 20)]
        result = preprocessor({'inputs': [torch.ones(6, 10, 20)] * 2, 'data_samples': samples})
        assert result['inputs'].shape == (2, 6, 16, 24)
        assert result['data_samples'][0].metainfo['img_padding_size'] == (0, 4, 0, 6)
        assert result['data_samples'][0].gt_sem_seg.shape == (10, 20)
        assert preprocessor({'inputs': [torch.ones(6, 10, 20)]})['inputs'].shape == (1, 6, 16, 24)

    def test_mistakes(self):
        with pytest.raises(UserError, match='batch_size=1'):
            self.build()({'inputs': [torch.ones(6, 4, 4), torch.ones(6, 4, 5)]})
        with pytest.raises(UserError, match='cancel each other'):
            self.build(rgb_to_bgr=True)
        with pytest.raises(UserError, match='both mean and std'):
            self.build(std=None)


@pytest.mark.parametrize(
    ('policy', 'expected'), [('concat', [1.0, 3.0]), ('sum', [4.0]), ('diff', [2.0]), ('abs_diff', [2.0])]
)
def test_feature_fusion(policy, expected):
    t1, t2 = ([torch.full((2, 1, size, size), value) for size in (4, 2)] for value in (1.0, 3.0))
    fused = feature_fusion.FeatureFusionNeck(policy, out_indices=(1, 0))(t1, t2)
    assert [level.shape[-1] for level in fused] == [2, 4]
    for level in fused:
        assert level[0, :, 0, 0].tolist() == expected


def test_feature_fusion_policy():
    with pytest.raises(UserError, match=r"^invalid fusion 'product' of FeatureFusionNeck: expected"):
        feature_fusion.FeatureFusionNeck('product')


@MODELS.register_module(force=True)
class TwoDateBackbone(nn.Module):
    """Signed difference at half resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, t1, t2):
        return (self.conv(t1) - self.conv(t2),)


@MODELS.register_module(force=True)
class HalvingNeck(nn.Module):
    def forward(self, feats):
        return tuple(feat / 2 for feat in feats)


def model_config(kind: str = 'SiamEncoderDecoder', out_channels: int = 1, **kwargs) -> ConfigDict:
    siamese = kind == 'SiamEncoderDecoder'
    backbone = {
        'type': 'mmseg.ResNet',
        'depth': 18,
        'base_channels': 4,
        'stem_channels': 4,
        'num_stages': 2,
        'out_indices': (0, 1),
        'strides': (1, 2),
        'dilations': (1, 1),
        'norm_cfg': {'type': 'BN'},
    }
    loss = {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': out_channels == 1}
    head = {
        'type': 'mmseg.FCNHead',
        'in_channels': 8 if siamese else 4,
        'in_index': 0,
        'channels': 4,
        'num_convs': 1,
        'num_classes': 2,
        'out_channels': out_channels,
        'dropout_ratio': 0,
        'norm_cfg': {'type': 'BN'},
        'concat_input': False,
        'loss_decode': loss,
        'threshold': 0.5 if out_channels == 1 else None,
    }
    return ConfigDict(
        type=f'{SCOPE}.{kind}',
        data_preprocessor={'type': 'DualInputSegDataPreProcessor', 'size_divisor': 8},
        backbone=backbone if siamese else {'type': 'TwoDateBackbone'},
        **(
            {'neck': {'type': 'FeatureFusionNeck', 'policy': 'concat', 'out_indices': (0, 1)}}
            if siamese
            else {}
        ),
        decode_head=head,
        train_cfg={},
        test_cfg={'mode': 'whole'},
        **kwargs,
    )


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

    def __call__(self, inputs, metas):
        assert all(tuple(meta['img_shape']) == tuple(inputs.shape[2:]) for meta in metas)
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


class TestVisualization:
    def predicted(self, name: str, rows: int, columns: int) -> SegDataSample:
        data_sample = SegDataSample(metainfo={'img_path': [f'A/{name}.png', f'B/{name}.png']})
        mask = torch.zeros(1, rows, columns)
        mask[:, :2] = 1
        data_sample.pred_sem_seg = PixelData(data=mask)
        return data_sample

    def visualizer(self, folder: Path):
        visualizer = VISUALIZERS.build(
            {
                'type': f'{SCOPE}.CDLocalVisualizer',
                'name': f'vis-{folder.name}',
                'alpha': 1.0,
                'save_dir': str(folder),
                'vis_backends': [{'type': f'{SCOPE}.CDLocalVisBackend'}],
            }
        )
        visualizer.dataset_meta = {
            'classes': ('unchanged', 'changed'),
            'palette': [[0, 0, 0], [255, 255, 255]],
        }
        return visualizer

    def test_hook_draws_each_image_at_its_own_size(self, tmp_path):
        hook = HOOKS.build(
            {'type': 'CDVisualizationHook', 'draw': True, 'interval': 2, 'img_shape': (1024, 1024, 3)}
        )
        runner = SimpleNamespace(visualizer=self.visualizer(tmp_path), iter=3)
        for batch, (name, rows, columns) in enumerate(
            (('skipped', 8, 8), ('one', 10, 20), ('no', 8, 8), ('two', 6, 7))
        ):
            hook.after_test_iter(runner, batch, None, [self.predicted(name, rows, columns)])
        hook.after_val_iter(runner, 1, None, [self.predicted('val.1', 4, 4)])
        pictures = {path.stem: np.asarray(Image.open(path)) for path in tmp_path.rglob('*.png')}
        assert {name: picture.shape[:2] for name, picture in pictures.items()} == {
            'one': (10, 20),
            'two': (6, 7),
            'val.1': (4, 4),
        }
        assert (pictures['two'][:2] == 255).all()
        assert (pictures['two'][2:] == 0).all()

    def test_pictures_of_equal_names_in_several_folders(self, tmp_path):
        hook = HOOKS.build({'type': 'CDVisualizationHook', 'draw': True, 'interval': 1})
        runner = SimpleNamespace(visualizer=self.visualizer(tmp_path), iter=3)
        for batch, (t1, t2) in enumerate(
            [('/d/A/austin/1.png', '/d/B/austin/1.png'), ('/d/A/vienna/1.png', '/d/B/vienna/1.tif'),
             ('/d/2/before.png', '/d/2/after.png'), ('/d/A/same.png', '/d/A/same.png')]
        ):  # fmt: skip
            data_sample = self.predicted('x', 4, 6)
            data_sample.set_metainfo({'img_path': [t1, t2]})
            hook.after_test_iter(runner, batch, None, [data_sample])
        (folder,) = {path.parent for path in tmp_path.rglob('same.png')}
        names = {str(path.relative_to(folder)) for path in tmp_path.rglob('*.png')}
        assert names == {'austin/1.png', 'vienna/1.png', 'before.png', 'same.png'}

    def test_hook_is_off_by_default_and_in_training(self, tmp_path):
        runner = SimpleNamespace(visualizer=self.visualizer(tmp_path), iter=3)
        HOOKS.build({'type': 'CDVisualizationHook', 'interval': 1}).after_test_iter(
            runner, 0, None, [self.predicted('x', 4, 4)]
        )
        HOOKS.build({'type': 'CDVisualizationHook', 'draw': True, 'interval': 1}).after_train_iter(
            runner, 0, None, {}
        )
        assert not list(tmp_path.rglob('*.png'))

    def test_label_beside_prediction(self, tmp_path):
        data_sample = self.predicted('x', 4, 6)
        data_sample.gt_sem_seg = PixelData(data=torch.ones(1, 4, 6, dtype=torch.int64))
        visualizer = self.visualizer(tmp_path)
        visualizer.add_datasample('x', np.zeros((4, 6, 3), np.uint8), [], data_sample)
        picture = np.asarray(Image.open(next(tmp_path.rglob('x.png'))))
        assert picture.shape == (4, 12, 3)
        assert picture[:, :6].min() == 255


def run_python(script: str, **env: str) -> subprocess.CompletedProcess:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(
        [*filter(None, [env.pop('extra_path', '')]), root, os.environ.get('PYTHONPATH', '')]
    )
    return subprocess.run(
        [sys.executable, '-c', script],
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_broken_opencd_is_replaced(tmp_path):
    """Open-CD whose import breaks off half-way leaves registries behind, and still the stand-in works."""
    (tmp_path / 'opencd').mkdir()
    (tmp_path / 'opencd/__init__.py').touch()
    (tmp_path / 'opencd/registry.py').write_text(
        'from mmengine.registry import MODELS as ROOT, Registry\n'
        "MODELS = Registry('model', parent=ROOT, scope='opencd', locations=['opencd.models'])\n"
    )
    (tmp_path / 'opencd/models.py').write_text('import a_package_that_is_not_there\n')
    done = run_python(
        'from mmengine.registry import MODELS, DefaultScope\n'
        'import hsonet_mm\n'
        "DefaultScope.get_instance('test', scope_name='opencd')\n"
        "print(MODELS.build(dict(type='FeatureFusionNeck', policy='sum')).policy)\n",
        extra_path=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == 'sum'
    assert 'a_package_that_is_not_there' in done.stderr


def test_a_config_of_opencd_trains_tests_and_draws(tmp_path):
    """The kinds of entries that Open-CD's own configs have, two iterations, validation and test included."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val', 'test'):
        for folder in ('A', 'B', 'label'):
            (tmp_path / split / folder).mkdir(parents=True)
            for number in range(2):
                values = rng.integers(0, 2, (40, 40), np.uint8) * 255 if folder == 'label' else None
                values = rng.integers(0, 256, (40, 40, 3), np.uint8) if values is None else values
                Image.fromarray(values).save(tmp_path / split / folder / f'{number}.png')
    train_pipeline = [
        {'type': 'MultiImgLoadImageFromFile'},
        {'type': 'MultiImgLoadAnnotations'},
        {'type': 'MultiImgRandomRotate', 'prob': 0.5, 'degree': 180},
        {'type': 'MultiImgRandomCrop', 'crop_size': (32, 32), 'cat_max_ratio': 0.75},
        {'type': 'MultiImgRandomFlip', 'prob': 0.5, 'direction': 'horizontal'},
        {'type': 'MultiImgExchangeTime', 'prob': 0.5},
        {
            'type': 'MultiImgPhotoMetricDistortion',
            'brightness_delta': 10,
            'contrast_range': (0.8, 1.2),
            'hue_delta': 10,
        },
        {'type': 'MultiImgPackSegInputs'},
    ]
    test_pipeline = [
        {'type': 'MultiImgLoadImageFromFile'},
        {'type': 'MultiImgResize', 'scale': (48, 48), 'keep_ratio': True},
        {'type': 'MultiImgLoadAnnotations'},
        {'type': 'MultiImgPackSegInputs'},
    ]

    def loader(split: str) -> dict:
        return {
            'batch_size': 2 if split == 'train' else 1,
            'num_workers': 0,
            'sampler': {
                'type': 'InfiniteSampler' if split == 'train' else 'DefaultSampler',
                'shuffle': split == 'train',
            },
            'dataset': {
                'type': 'LEVIR_CD_Dataset',
                'data_root': str(tmp_path),
                'data_prefix': {
                    'img_path_from': f'{split}/A',
                    'img_path_to': f'{split}/B',
                    'seg_map_path': f'{split}/label',
                },
                'pipeline': train_pipeline if split == 'train' else test_pipeline,
            },
        }

    evaluator = {'type': 'mmseg.IoUMetric', 'iou_metrics': ['mFscore', 'mIoU']}
    config = Config(
        {
            'default_scope': SCOPE,
            'model': model_config(),
            'train_dataloader': loader('train'),
            'val_dataloader': loader('val'),
            'test_dataloader': loader('test'),
            'val_evaluator': evaluator,
            'test_evaluator': evaluator,
            'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'AdamW', 'lr': 0.001}},
            'param_scheduler': [
                {'type': 'LinearLR', 'start_factor': 1e-6, 'by_epoch': False, 'begin': 0, 'end': 2}
            ],
            'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 2, 'val_interval': 2},
            'val_cfg': {'type': 'ValLoop'},
            'test_cfg': {'type': 'TestLoop'},
            'default_hooks': {
                'logger': {'type': 'LoggerHook', 'interval': 1, 'log_metric_by_epoch': False},
                'checkpoint': {
                    'type': 'CheckpointHook',
                    'by_epoch': False,
                    'interval': 2,
                    'save_best': 'mIoU',
                },
                'visualization': {
                    'type': 'CDVisualizationHook',
                    'draw': True,
                    'interval': 1,
                    'img_shape': (1024, 1024, 3),
                },
            },
            'vis_backends': [{'type': 'CDLocalVisBackend'}],
            'visualizer': {
                'type': 'CDLocalVisualizer',
                'vis_backends': [{'type': 'CDLocalVisBackend'}],
                'name': 'config',
                'alpha': 1.0,
            },
            'log_processor': {'by_epoch': False},
            'work_dir': str(tmp_path / 'work'),
            'experiment_name': 'opencd-config',
        }
    )
    messages = []
    runner = Runner.from_cfg(config)
    runner.logger.addFilter(lambda record: messages.append(record.getMessage()) or True)
    runner.train()
    metrics = runner.test()
    assert {'mIoU', 'mFscore'} <= metrics.keys()
    assert len(list((tmp_path / 'work').rglob('vis_image/*.png'))) == 2
    losses = [
        json.loads(line)['loss']
        for path in (tmp_path / 'work').rglob('scalars.json')
        for line in path.read_text().splitlines()
        if '"loss"' in line
    ]
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert not [text for text in messages if 'Failed to' in text]
