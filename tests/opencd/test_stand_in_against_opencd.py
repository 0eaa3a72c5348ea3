"""The stand-in beside the real Open-CD: same names, same numbers, same weights."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from hsonet_mm.baselines import opencd as baselines
from hsonet_mm.datasets import ChangeDataset
from hsonet_mm.images import Reading
from hsonet_mm.models import VFPN
from hsonet_mm.opencd import compat, data_preprocessor, datasets, registry, stand_in, transforms

pytestmark = [
    pytest.mark.opencd,
    pytest.mark.skipif(not compat.OPENCD_AVAILABLE, reason='Open-CD is not in this environment'),
]

OURS = {name: getattr(module, name) for module in (*stand_in.MODULES, baselines) for name in module.__all__}
del OURS['NAMES']
OURS |= {'FarSegFPN': VFPN, **dict.fromkeys(datasets.NAMES, ChangeDataset)}
NAMES = [name for name in OURS if name not in ('GZ_CD_Dataset', 'SYSU_CD_Dataset')]
SIZE = (40, 56)


def real(name: str) -> type:
    from opencd import registry as opencd

    kinds = (
        opencd.MODELS,
        opencd.DATASETS,
        opencd.TRANSFORMS,
        opencd.HOOKS,
        opencd.VISUALIZERS,
        opencd.VISBACKENDS,
    )
    with DefaultScope.overwrite_default_scope('opencd'):
        return next(cls for kind in kinds if (cls := kind.get(name)) is not None)


def named_arguments(cls: type) -> set[str]:
    """What a class takes by name; where it passes keywords on, what its base classes take as well."""
    named: set[str] = set()
    for one in cls.__mro__:
        if '__init__' in vars(one):
            kinds = {name: of.kind for name, of in inspect.signature(one.__init__).parameters.items()}
            variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            named |= {name for name, kind in kinds.items() if kind not in variable}
            if inspect.Parameter.VAR_KEYWORD not in kinds.values():
                break
    return named


@pytest.mark.parametrize('name', NAMES)
def test_the_real_one_has_the_name_and_every_argument_is_accepted(name):
    """What a config may give to Open-CD's class, ours takes; a few arguments nobody writes are left out."""
    left_out = {'clip_object_border'}
    assert named_arguments(real(name)) - left_out <= named_arguments(OURS[name])


def sample() -> dict:
    rng = np.random.default_rng(0)
    return {
        'img': [rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(2)],
        'img_path': ['A/x.png', 'B/x.png'],
        'gt_seg_map': rng.integers(0, 2, SIZE, dtype=np.uint8),
        'seg_fields': ['gt_seg_map'],
        'img_shape': SIZE,
        'ori_shape': SIZE,
    }


@pytest.mark.parametrize(
    ('name', 'kwargs'),
    [
        ('MultiImgRandomFlip', {'prob': 1.0, 'direction': 'horizontal'}),
        ('MultiImgRandomFlip', {'prob': 1.0, 'direction': 'vertical'}),
        ('MultiImgRandomFlip', {'prob': [0.3, 0.4], 'direction': ['horizontal', 'vertical']}),
        ('MultiImgRandomRotate', {'prob': 0.9, 'degree': 180}),
        ('MultiImgRandomCrop', {'crop_size': (16, 24), 'cat_max_ratio': 0.75}),
        ('MultiImgResize', {'scale': (64, 64), 'keep_ratio': True}),
        ('MultiImgResize', {'scale_factor': 1.5}),
        ('MultiImgExchangeTime', {'prob': 0.5}),
    ],
)
def test_transforms(name, kwargs):
    results = []
    for cls in (real(name), OURS[name]):
        np.random.seed(3)  # noqa: NPY002
        results.append(cls(**kwargs).transform(sample()))
    theirs, ours = results
    for key in ('img', 'gt_seg_map'):
        for one, other in zip(theirs[key], ours[key], strict=True):
            np.testing.assert_array_equal(one, other)
    assert ours['img_shape'][:2] == theirs['img_shape'][:2]
    assert ours.get('flip_direction') == theirs.get('flip_direction')


def test_packing():
    theirs, ours = (
        cls().transform({**sample(), 'flip': False, 'scale_factor': (1.0, 1.0)})
        for cls in (real('MultiImgPackSegInputs'), transforms.MultiImgPackSegInputs)
    )
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert torch.equal(ours['data_samples'].gt_sem_seg.data, theirs['data_samples'].gt_sem_seg.data)
    assert ours['data_samples'].metainfo == theirs['data_samples'].metainfo


def truth(rows: int, columns: int) -> SegDataSample:
    data_sample = SegDataSample(metainfo={'ori_shape': (rows, columns), 'img_shape': (rows, columns)})
    data_sample.gt_sem_seg = PixelData(data=torch.ones(1, rows, columns, dtype=torch.int64))
    return data_sample


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('padding', [{'size_divisor': 32}, {'size': (64, 64)}])
def test_preprocessor(training, padding):
    kwargs = {
        'mean': [123.675, 116.28, 103.53] * 2,
        'std': [58.395, 57.12, 57.375] * 2,
        'bgr_to_rgb': True,
        'pad_val': 3,
        'seg_pad_val': 254,
        'test_cfg': padding,
        **padding,
    }
    inputs = [torch.randint(0, 256, (6, *SIZE), dtype=torch.uint8)]
    theirs, ours = (
        cls(**kwargs)({'inputs': inputs, 'data_samples': [truth(*SIZE)]}, training)
        for cls in (real('DualInputSegDataPreProcessor'), data_preprocessor.DualInputSegDataPreProcessor)
    )
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert ours['data_samples'][0].metainfo == theirs['data_samples'][0].metainfo
    assert torch.equal(ours['data_samples'][0].gt_sem_seg.data, theirs['data_samples'][0].gt_sem_seg.data)


def model_config(out_channels: int) -> dict:
    head = {
        'type': 'mmseg.FCNHead',
        'channels': 8,
        'num_classes': 2,
        'out_channels': out_channels,
        'threshold': 0.4 if out_channels == 1 else None,
        'dropout_ratio': 0,
        'norm_cfg': {'type': 'BN'},
        'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': out_channels == 1},
    }
    return {
        'type': 'SiamEncoderDecoder',
        'data_preprocessor': {'type': 'DualInputSegDataPreProcessor', 'mean': [1.0] * 6, 'std': [2.0] * 6},
        'backbone': {
            'type': 'mmseg.ResNetV1c',
            'depth': 18,
            'base_channels': 8,
            'stem_channels': 8,
            'norm_cfg': {'type': 'BN'},
        },
        'neck': {'type': 'FeatureFusionNeck', 'policy': 'concat'},
        'decode_head': {**head, 'in_channels': 128, 'in_index': 3},
        'auxiliary_head': {**head, 'in_channels': 64, 'in_index': 2},
        'train_cfg': {},
        'test_cfg': {'mode': 'whole'},
    }


@pytest.mark.parametrize('out_channels', [1, 2])
def test_detector(out_channels):
    """One checkpoint, the same losses, probabilities and masks, whole and with a sliding window."""
    from mmengine.config import ConfigDict
    from opencd.registry import MODELS

    models = []
    for scope, models_of_scope in (('opencd', MODELS), (registry.SCOPE, registry.MODELS)):
        with DefaultScope.overwrite_default_scope(scope):
            models.append(models_of_scope.build(ConfigDict(model_config(out_channels))))
    theirs, ours = models
    assert type(theirs) is not type(ours)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    theirs.load_state_dict(ours.state_dict())
    inputs = torch.randn(2, 6, 64, 96)
    losses = [model.loss(inputs, [truth(64, 96), truth(64, 96)]) for model in models]
    assert losses[0].keys() == losses[1].keys()
    for key, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][key])
    for test_cfg in ({'mode': 'whole'}, {'mode': 'slide', 'crop_size': (32, 48), 'stride': (20, 30)}):
        results = []
        for model in models:
            model.eval().test_cfg = ConfigDict(test_cfg)
            samples = [truth(60, 96), truth(60, 96)]
            for data_sample in samples:
                data_sample.set_metainfo({'img_padding_size': (0, 0, 0, 4)})
            with torch.no_grad():
                results.append(model.predict(inputs, samples))
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one.seg_logits.data, other.seg_logits.data, atol=1e-5, rtol=0)
            assert one.pred_sem_seg.data.dtype == other.pred_sem_seg.data.dtype
            assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ('A', 'B', 'label'):
        (tmp_path / 'train' / folder).mkdir(parents=True)
        for number in (10, 2):
            image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
            image = (image[..., 0] > 200) * np.uint8(255) if folder == 'label' else image
            Image.fromarray(image).save(tmp_path / f'train/{folder}/x{number}.png')
    return tmp_path


@pytest.mark.parametrize('name', ['LEVIR_CD_Dataset', 'WHU_CD_Dataset'])
def test_datasets(root, name):
    prefix = {'img_path_from': 'train/A', 'img_path_to': 'train/B', 'seg_map_path': 'train/label'}
    theirs, ours = (cls(data_root=str(root), data_prefix=prefix) for cls in (real(name), OURS[name]))
    assert len(ours) == len(theirs) == 2
    for index in range(2):
        info = ours.get_data_info(index)
        assert info.pop('reading') == Reading()  # what our transforms heed beside
        assert info == theirs.get_data_info(index)
    assert {key: ours.metainfo[key] for key in theirs.metainfo} == theirs.metainfo


def test_our_samples_run_through_the_real_transforms(root):
    prefix = {'img_path_from': 'train/A', 'img_path_to': 'train/B', 'seg_map_path': 'train/label'}
    names = ('MultiImgLoadImageFromFile', 'MultiImgLoadAnnotations', 'MultiImgPackSegInputs')
    theirs, ours = (
        ChangeDataset(
            data_root=str(root),
            data_prefix=prefix,
            pipeline=[{'type': f'{scope}.{name}'} for name in names],
        )[0]
        for scope in ('opencd', registry.SCOPE)
    )
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert torch.equal(ours['data_samples'].gt_sem_seg.data, theirs['data_samples'].gt_sem_seg.data)
