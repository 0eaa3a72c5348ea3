"""ResumableTrainLoop: a training that was resumed is the training that was not interrupted."""

import json
import shutil
from multiprocessing import active_children

import pytest
import torch

from hsonet_mm.datasets import loading

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


@pytest.fixture(scope='module')
def whole(tmp_path_factory, trained):
    """A training of six iterations with everything random that there is: config and work dir."""
    return trained(tmp_path_factory.mktemp('trained'), AUGMENTED)


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def assert_equal(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


def log(work_dir, key):
    """A figure of the log by iteration."""
    lines = [
        line
        for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    return {record['step']: record[key] for record in map(json.loads, lines) if key in record}


@pytest.mark.parametrize('workers', [0, 2])
def test_resumed_is_uninterrupted_and_reads_no_data_twice(whole, workers, hsonet, tmp_path, monkeypatch):
    config, work = whole
    (tmp_path / 'work').mkdir()
    shutil.copy(work / 'iter_3.pth', tmp_path / 'work')
    read = []
    original = loading.read_pixels
    monkeypatch.setattr(loading, 'read_pixels', lambda *args: read.append(args) or original(*args))
    options = (
        f'train_dataloader.num_workers={workers}',
        'val_dataloader=None',
        'val_evaluator=None',
        'val_cfg=None',
    )
    code, stdout, stderr = hsonet(
        'train', config, '--work-dir', tmp_path / 'work', '--resume', '--cfg-options', *options
    )
    assert code == 0, stderr
    assert_equal(tmp_path / 'work/iter_6.pth', work / 'iter_6.pth')
    assert log(tmp_path / 'work', 'loss').keys() == {4, 5, 6}
    assert 'Advance dataloader' not in stdout
    assert len(read) == (
        0 if workers else 3 * 2 * 2
    )  # iterations x batch x dates; workers have a list of their own


def test_same_seed_same_training_for_any_number_of_workers(whole, hsonet, tmp_path):
    config, work = whole
    options = ('train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True')
    assert hsonet('train', config, '--work-dir', tmp_path, '--cfg-options', *options)[0] == 0
    assert active_children() == []  # PyTorch would end them when garbage is collected, in ten seconds
    assert_equal(tmp_path / 'iter_6.pth', work / 'iter_6.pth')
    assert hsonet('train', config, '--work-dir', tmp_path / 'other', '--seed', 43, '--iters', 3)[0] == 0
    assert not torch.equal(
        weights(tmp_path / 'other/iter_3.pth')['decode_head.conv_seg.weight'],
        weights(work / 'iter_3.pth')['decode_head.conv_seg.weight'],
    )


def test_schedules_stretch_to_more_iterations(whole, hsonet, tmp_path):
    config, work = whole
    (tmp_path / 'work').mkdir()
    shutil.copy(work / 'iter_6.pth', tmp_path / 'work')
    for folder, resume in (('straight', ()), ('work', ('--resume',))):
        code, stdout, stderr = hsonet(
            'train', config, '--work-dir', tmp_path / folder, '--iters', 12, *resume
        )
        assert code == 0, stderr
    assert 'they follow the config from here' in stdout
    straight, resumed = log(tmp_path / 'straight', 'lr'), log(tmp_path / 'work', 'lr')
    assert resumed.keys() == set(range(7, 13))
    assert resumed == pytest.approx({step: straight[step] for step in resumed}, rel=1e-9)
    assert resumed[7] > resumed[11] > 0


def test_another_learning_rate_is_followed(whole, hsonet, tmp_path):
    config, work = whole
    args = (
        '--work-dir',
        tmp_path,
        '--resume',
        work / 'iter_3.pth',
        '--cfg-options',
        'optim_wrapper.optimizer.lr=1e-5',
    )
    assert hsonet('train', config, *args)[0] == 0
    before = log(work, 'lr')  # of 1e-3
    assert log(tmp_path, 'lr') == pytest.approx({step: before[step] / 100 for step in (4, 5, 6)})
    assert before[4] > 0


def test_validation_that_was_cut_off_is_made_up_for(whole, hsonet, tmp_path):
    """The checkpoint is there and its validation is not, as after a kill in between."""
    config, work = whole
    content = torch.load(work / 'iter_6.pth', weights_only=True)
    assert content['message_hub']['runtime_info'].pop('iter_validated') == 6
    for key in ('best_score', 'best_ckpt'):
        content['message_hub']['runtime_info'].pop(key)
    torch.save(content, tmp_path / 'iter_6.pth')
    assert hsonet('train', config, '--work-dir', tmp_path, '--resume')[0] == 0
    assert (tmp_path / 'best_changed_f1_iter_6.pth').is_file()
    assert log(tmp_path, 'changed/best_f1') == log(work, 'changed/best_f1')
    code, stdout, _ = hsonet('train', config, '--work-dir', tmp_path, '--resume')
    assert code == 0
    assert 'Iter(val)' not in stdout
