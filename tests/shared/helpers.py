"""What tests of several packages share: a detector without a network, a batch of image pairs, regions of a mask."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from hsonet_mm.images import Reading
from hsonet_mm.inference.calibration import Calibration, write_calibration
from hsonet_mm.windows import Window

LIGHT = {
    'model.type': 'SiamEncoderDecoder',
    'model.detail': None,
    'model.backbone': {
        '_delete_': True,
        'type': 'mmseg.ResNet',
        'depth': 18,
        'num_stages': 1,
        'strides': (1,),
        'dilations': (1,),
        'out_indices': (0,),
        'base_channels': 8,
        'stem_channels': 8,
        'norm_cfg': {'type': 'BN', 'requires_grad': True},
    },
    'model.neck': {'_delete_': True, 'type': 'FeatureFusionNeck', 'policy': 'concat', 'out_indices': (0,)},
    'model.decode_head': {
        '_delete_': True,
        'type': 'mmseg.FCNHead',
        'in_channels': 16,
        'in_index': 0,
        'channels': 8,
        'num_convs': 1,
        'concat_input': False,
        'num_classes': 2,
        'out_channels': 1,
        'threshold': 0.5,
        'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True},
    },
}
"""Changes of the tiny config to MMSegmentation's parts: a network that is traced in a fifth of the time."""


def difference(t1, t2, **_):
    """The mean difference of the dates as a probability, (N, H, W)."""
    return np.abs(t1.astype(np.float32) - t2).mean(3) / 255


def fake_detector(probs=difference, **changes):
    """What scenes need of a detector, with a function (t1, t2) for its network."""
    detector = SimpleNamespace(
        **{
            'probs': probs,
            'threshold': 0.5,
            'threshold_source': 'given',
            'name': 'fake',
            'versions': {},
            'reading': Reading(),
            'window': Window(512, 128),
            'ground_resolution': None,
            'tta': (),
            'whole': lambda: detector,
            **changes,
        }
    )
    return detector


def random_pairs(size=64, seed=0):
    """A batch of two pairs with a changed block each, and a strip of unknown labels."""
    import torch
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(seed)
    inputs, samples = [], []
    for left in (8, 24):
        pair = torch.randint(0, 256, (6, size, size), generator=generator, dtype=torch.uint8)
        label = torch.zeros(1, size, size, dtype=torch.long)
        pair[3:, 16:40, left : left + 24] = 250
        label[:, 16:40, left : left + 24] = 1
        label[..., -4:] = 255
        meta = {'img_shape': (size, size), 'ori_shape': (size, size), 'img_path': ['A/x.png', 'B/x.png']}
        sample = SegDataSample(metainfo=meta)
        sample.gt_sem_seg = PixelData(data=label)
        inputs.append(pair)
        samples.append(sample)
    return {'inputs': inputs, 'data_samples': samples}


def regions(pixels):
    """Connected regions (8 neighbours) of a set of (row, column), each a set, by flooding."""
    left = set(pixels)
    while left:
        region, front = set(), [left.pop()]
        while front:
            y, x = front.pop()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            front += near
        yield region


def interrupt_replacing(monkeypatch, name):
    """Let a file or folder of that name raise KeyboardInterrupt when it is to replace another one."""
    replace = Path.replace

    def interrupted(path, target):
        if path.name == name:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, 'replace', interrupted)


def calibrated_copy(checkpoint, copy):
    """Copy a checkpoint, and write a calibration beside the copy."""
    copy.write_bytes(checkpoint.read_bytes())
    write_calibration(copy, Calibration(temperature=1.7, threshold=0.42), {})
    return copy


def logged(work_dir, key):
    """A figure of the log of a training, by iteration."""
    lines = [
        line
        for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    return {record['step']: record[key] for record in map(json.loads, lines) if key in record}
