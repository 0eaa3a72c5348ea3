"""ResumableTrainLoop: a training that was resumed is the training that was not interrupted."""

import shutil
from multiprocessing import active_children
from types import SimpleNamespace

import pytest
import torch
from helpers import logged

from hsonet_mm.datasets import loading
from hsonet_mm.engine import train_loop
from hsonet_mm.engine.train_loop import ResumableTrainLoop


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def assert_equal(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


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
    assert logged(tmp_path / 'work', 'loss').keys() == {4, 5, 6}
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


def test_every_iteration_and_process_draws_its_own_numbers(monkeypatch):
    """Else one dropout mask would serve a whole training, or every process."""
    drawn = []
    monkeypatch.setattr(
        train_loop.IterBasedTrainLoop, 'run_iter', lambda *_: drawn.append(float(torch.rand(())))
    )
    loop = ResumableTrainLoop.__new__(ResumableTrainLoop)
    loop._runner = SimpleNamespace(seed=42)
    for rank in (0, 1):
        monkeypatch.setattr(train_loop, 'get_rank', lambda rank=rank: rank)
        for loop._iter in range(3):
            loop.run_iter(None)
    assert len(set(drawn)) == 6


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
    assert logged(tmp_path, 'changed/best_f1') == logged(work, 'changed/best_f1')
    code, stdout, _ = hsonet('train', config, '--work-dir', tmp_path, '--resume')
    assert code == 0
    assert 'Iter(val)' not in stdout
