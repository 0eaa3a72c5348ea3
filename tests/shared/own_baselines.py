"""Baselines that Open-CD does not have, by their configs, and batches for them."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

CONFIGS = Path(__file__).parents[2] / 'configs' / 'baselines'


def build(name):
    """The detector of a config, without pre-trained weights."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.model.backbone.init_cfg = None
    init_default_scope('opencd')
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def batch(height, width, n=2):
    """Pairs with labels as the data loader gives them."""
    samples = []
    for _ in range(n):
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 2, (1, height, width))))
        sample.set_metainfo({'img_shape': (height, width), 'ori_shape': (height, width)})
        samples.append(sample)
    pairs = [torch.randint(0, 256, (6, height, width), dtype=torch.uint8) for _ in range(n)]
    return {'inputs': pairs, 'data_samples': samples}
