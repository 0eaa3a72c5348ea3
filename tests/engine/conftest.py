"""Fixtures of the tests of trainings."""

import pytest

AUGMENTED = {
    'train_dataloader.dataset.pipeline': [
        {'type': 'hsonet_mm.MultiImgLoadImageFromFile'},
        {'type': 'hsonet_mm.MultiImgLoadAnnotations'},
        {'type': 'hsonet_mm.MultiImgRandomScale', 'scale_range': (0.8, 1.25), 'min_size': 48},
        {'type': 'hsonet_mm.MultiImgBalancedCrop', 'crop_size': 48, 'changed_prob': 0.5},
        {'type': 'hsonet_mm.MultiImgRandomRot90', 'prob': 0.75},
        {'type': 'MultiImgExchangeTime', 'prob': 0.5},
        {'type': 'MultiImgPhotoMetricDistortion'},
        {'type': 'MultiImgPackSegInputs'},
    ],
    'model.decode_head.dropout_ratio': 0.3,
    'param_scheduler': [
        {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'begin': 0, 'end': 2},
        {'type': 'PolyLR', 'power': 1.0, 'eta_min': 0.0, 'by_epoch': False, 'begin': 2, 'end': 6},
    ],
    'train_cfg.max_iters': 6,
    'train_cfg.val_interval': 6,
    'default_hooks.checkpoint.interval': 3,
}


@pytest.fixture(scope='session')
def whole(tmp_path_factory, trained):
    """A training of six iterations with everything random that there is: config and work dir."""
    return trained(tmp_path_factory.mktemp('trained'), AUGMENTED)
