"""Open-CD's own configs of the baselines, trained by ``hsonet train`` where Open-CD is not installed.

They are read from a checkout of Open-CD, which the environment variable OPENCD_ROOT names.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from hsonet_mm.opencd import compat

# Our config: Open-CD's.
BASELINES = {
    'fc_ef': 'fcsn/fc_ef_256x256_40k_levircd.py',
    'fc_siam_diff': 'fcsn/fc_siam_diff_256x256_40k_levircd.py',
    'fc_siam_conc': 'fcsn/fc_siam_conc_256x256_40k_levircd.py',
    'snunet_c16': 'snunet/snunet_c16_256x256_40k_levircd.py',
    'tinycd': 'tinycd/tinycd_256x256_40k_levircd.py',
    'bit_r18': 'bit/bit_r18_256x256_40k_levircd.py',
    'changer_ex_r18': 'changer/changer_ex_r18_512x512_40k_levircd.py',
    'farseg_r18': 'changestar/changestar_farseg_1x96_256x256_40k_levircd.py',
}


def options(file):
    """Two iterations on small pairs in one process; what would be downloaded is left out."""
    cfg = Config.fromfile(file)
    yield '--cfg-options'
    for split, transform, key in (
        ('train', 'MultiImgRandomCrop', 'crop_size'),
        ('val', 'MultiImgResize', 'scale'),
    ):
        loader = f'{split}_dataloader'
        (index,) = (i for i, step in enumerate(cfg[loader].dataset.pipeline) if step.type == transform)
        yield f'{loader}.dataset.pipeline.{index}.{key}=(64,64)'
        yield f'{loader}.num_workers=0'
        yield f'{loader}.persistent_workers=False'
    yield 'train_dataloader.batch_size=2'
    yield 'train_cfg.max_iters=2'
    yield 'train_cfg.val_interval=2'
    yield 'default_hooks.checkpoint.interval=1'
    yield 'default_hooks.logger.interval=1'
    yield 'model.pretrained=None'
    if 'pretrained' in cfg.model.backbone:
        yield 'model.backbone.pretrained=False'
    if 'init_cfg' in cfg.model.backbone:
        yield 'model.backbone.init_cfg=None'


@pytest.mark.opencd_configs
@pytest.mark.skipif(
    compat.OPENCD_AVAILABLE, reason='Open-CD is here; opencd/test_real_opencd.py trains its configs'
)
@pytest.mark.parametrize('name', BASELINES)
def test_a_config_of_opencd_trains_without_opencd(name, opencd_configs, hsonet, tiny_data, tmp_path):
    """Data, transforms, network, loss, schedule and validation of the config: finite losses, other weights."""
    file = opencd_configs / BASELINES[name]
    code, out, error = hsonet(
        'train', file, '--data-root', tiny_data, '--work-dir', tmp_path, '--seed', 0, *options(file)
    )
    assert code == 0, error
    assert 'Trained 2 iterations' in out

    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [line['loss'] for line in lines if 'loss' in line]
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert [0 <= line['mIoU'] <= 100 for line in lines if 'mIoU' in line] == [True]

    first, second = (torch.load(tmp_path / f'iter_{i}.pth', weights_only=True)['state_dict'] for i in (1, 2))
    assert first.keys() == second.keys()
    weights = [key for key in first if key.endswith(('.weight', '.bias'))]
    same = [key for key in weights if torch.equal(first[key], second[key])]
    assert not same


def test_every_baseline_that_opencd_has_is_trained():
    """The others are USSFC-Net, the plain U-Nets, and TinyCD with its authors' classifier."""
    folder = Path(__file__).parents[2] / 'configs' / 'baselines'
    names = {path.stem for path in folder.glob('[!_]*.py')}
    assert {
        name for name in names if not name.startswith(('ussfc_net', 'unet_', 'tinycd_'))
    } == BASELINES.keys()
