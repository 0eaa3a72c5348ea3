"""The stand-in for Open-CD: its names, and a config of Open-CD from end to end.

Beside the real Open-CD the stand-in registers in a scope of its own, so these tests run everywhere.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from small_detectors import model_config

from hsonet_mm.baselines import opencd as opencd_baselines
from hsonet_mm.datasets import ChangeDataset
from hsonet_mm.models import VFPN
from hsonet_mm.opencd import datasets, stand_in
from hsonet_mm.opencd.registry import DATASETS, HOOKS, MODELS, SCOPE, TRANSFORMS, VISUALIZERS


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002 (what the transforms draw from)


class TestTransforms:
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
