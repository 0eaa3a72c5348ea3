"""What a training starts from: --resume, --init-from, load_from."""

import shutil

import pytest
import torch

from hsonet_mm.engine.start import newest_checkpoint
from hsonet_mm.errors import UserError

TWO = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 2}


@pytest.fixture(scope='module')
def done(tmp_path_factory, trained):
    """A training of two iterations: config and work dir."""
    return trained(tmp_path_factory.mktemp('trained'), TWO)


def checkpoint(path, iteration=1):
    path.parent.mkdir(exist_ok=True, parents=True)
    torch.save({'state_dict': {'a': torch.zeros(1)}, 'meta': {'iter': iteration}}, path)


@pytest.mark.parametrize(
    ('note', 'files', 'found'),
    [
        ('/elsewhere/iter_20.pth', ['iter_20.pth', 'iter_100.pth'], 'iter_20.pth'),
        ('', ['iter_20.pth', 'iter_100.pth'], 'iter_100.pth'),
        (None, ['iter_20.pth', 'iter_100.pth', 'best_changed_f1_iter_200.pth'], 'iter_100.pth'),
        ('/elsewhere/iter_20.pth', ['iter_100.pth'], 'iter_100.pth'),
        (None, ['epoch_3.pth', 'epoch_12.pth'], 'epoch_12.pth'),
        ('', [], None),
        (None, [], None),
    ],
)
def test_newest(tmp_path, note, files, found):
    for name in files:
        checkpoint(tmp_path / name)
    if note is not None:
        (tmp_path / 'last_checkpoint').write_text(note)
    newest = newest_checkpoint(tmp_path)
    assert (newest and newest.path) == (found and tmp_path / found)


def test_the_one_that_is_named_is_gone(tmp_path):
    """Nothing else to go on from: a training that starts from scratch unasked may cost days."""
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/iter_20.pth')
    with pytest.raises(
        UserError, match=r'/elsewhere/iter_20\.pth, which does not exist.*delete last_checkpoint'
    ):
        newest_checkpoint(tmp_path)


def test_newest_passes_over_a_damaged_one(tmp_path):
    checkpoint(tmp_path / 'iter_2.pth')
    (tmp_path / 'iter_4.pth').write_bytes((tmp_path / 'iter_2.pth').read_bytes()[:200])
    assert newest_checkpoint(tmp_path).path.name == 'iter_2.pth'
    (tmp_path / 'iter_2.pth').unlink()
    with pytest.raises(UserError, match=r'iter_4\.pth is truncated .*remove it to start from scratch'):
        newest_checkpoint(tmp_path)


def test_never_from_scratch_beside_a_best_checkpoint(done, hsonet, tmp_path):
    config, work = done
    shutil.copy(work / 'best_changed_f1_iter_2.pth', tmp_path)
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path, '--resume')
    assert code == 2
    assert all(text in stderr for text in ('best_changed_f1_iter_2.pth', '--resume PATH', '--init-from'))


def test_folder_without_checkpoints_is_a_start(done, hsonet, tmp_path):
    code, stdout, stderr = hsonet('train', done[0], '--work-dir', tmp_path, '--resume')
    assert code == 0, stderr
    assert 'Trained 2 iterations' in stdout


def test_load_from_counts_at_the_first_start(done, hsonet, tmp_path):
    """A job that is repeated always has ``--resume``."""
    config, work = done
    args = ('--work-dir', tmp_path / 'work', '--resume', '--cfg-options', 'optim_wrapper.optimizer.lr=0.0')
    weights = ('optim_wrapper.optimizer.weight_decay=0.0', f'load_from={work / "iter_2.pth"}')
    code, _, stderr = hsonet('train', config, *args, *weights)
    assert code == 0, stderr
    trained, given = (
        torch.load(folder / 'iter_2.pth', weights_only=True)['state_dict']['backbone.conv1.weight']
        for folder in (tmp_path / 'work', work)
    )
    assert torch.equal(trained, given)
    code, stdout, stderr = hsonet('train', config, *args, *weights, 'train_cfg.max_iters=4')
    assert code == 0, stderr
    assert 'resumed epoch: 0, iter: 2' in stdout


@pytest.mark.parametrize('named', ['iter_2.pth', ''])
def test_path(done, named, hsonet, tmp_path):
    """A file or a folder."""
    config, work = done
    args = ('--work-dir', tmp_path / 'work', '--iters', 4, '--resume', work / named)
    code, stdout, stderr = hsonet('train', config, *args)
    assert code == 0, stderr
    assert 'resumed epoch: 0, iter: 2' in stdout
    assert 'Trained 4 iterations' in stdout


@pytest.mark.parametrize(
    ('args', 'naming'),
    [
        (('--resume', 'iter_2.pth', '--iters', 1), ['completed 2 of 1 iters', '--work-dir']),
        (('--resume', 'best_changed_f1_iter_2.pth'), ['without a training state', '--init-from']),
        (('--resume', 'iter_9.pth'), ['iter_9.pth does not exist']),
        (('--init-from', 'iter_9.pth'), ['iter_9.pth does not exist']),
    ],
)
def test_refused(done, args, naming, hsonet, tmp_path):
    config, work = done
    args = [work / arg if str(arg).endswith('.pth') else arg for arg in args]
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'work', *args)
    assert code == 2
    assert all(text in stderr for text in naming), stderr


def test_seed_of_the_checkpoint_goes_on_where_the_config_has_none(write_config, hsonet, tmp_path):
    config = write_config(tmp_path / 'c.py', {**TWO, 'randomness.seed': None})
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'work')
    assert code == 0, stderr
    seed = torch.load(tmp_path / 'work/iter_2.pth', weights_only=True)['meta']['seed']
    assert hsonet('train', config, '--work-dir', tmp_path / 'work', '--resume', '--iters', 4)[0] == 0
    assert torch.load(tmp_path / 'work/iter_4.pth', weights_only=True)['meta']['seed'] == seed


def test_init_from_takes_what_fits_and_lists_the_rest(done, hsonet, tmp_path):
    """Another head, and weights that torch.compile and DistributedDataParallel have named."""
    config, work = done
    state = torch.load(work / 'iter_2.pth', weights_only=True)['state_dict']
    weights = tmp_path / 'wrapped.pth'
    torch.save({f'module._orig_mod.{name}': value for name, value in state.items()}, weights)
    rate_0 = ('optim_wrapper.optimizer.lr=0.0', 'optim_wrapper.optimizer.weight_decay=0.0', 'load_from=None')
    other = ('--cfg-options', *rate_0, 'model.decode_head.channels=8')
    code, stdout, stderr = hsonet(
        'train', config, '--work-dir', tmp_path / 'a', '--init-from', weights, *other
    )
    assert code == 0, stderr
    assert 'decode_head.decoder.levels.0.0.bn.weight is [16] in the file and [8] in the model' in stdout
    trained = torch.load(tmp_path / 'a/iter_2.pth', weights_only=True)['state_dict']
    assert torch.equal(trained['backbone.conv1.weight'], state['backbone.conv1.weight'])
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'b', *other, f'load_from={weights}')
    assert code == 2
    assert '--init-from' in stderr


def test_load_from_with_names_of_wrappers(done, hsonet, tmp_path):
    """MMEngine would load nothing of it and say so in the log."""
    config, work = done
    state = torch.load(work / 'iter_2.pth', weights_only=True)['state_dict']
    torch.save({f'_orig_mod.{name}': value for name, value in state.items()}, tmp_path / 'w.pth')
    options = ('optim_wrapper.optimizer.lr=0.0', f'load_from={tmp_path / "w.pth"}')
    assert hsonet('train', config, '--work-dir', tmp_path / 'work', '--cfg-options', *options)[0] == 0
    trained = torch.load(tmp_path / 'work/iter_2.pth', weights_only=True)['state_dict']
    assert torch.equal(trained['decode_head.conv_seg.weight'], state['decode_head.conv_seg.weight'])


def test_without_workers(done, hsonet, tmp_path):
    """What the configs ask of their workers does not count for none."""
    options = ('train_dataloader.persistent_workers=True', 'val_dataloader.persistent_workers=True',
               'train_dataloader.prefetch_factor=4', 'train_dataloader.num_workers=0')  # fmt: skip
    code, _, stderr = hsonet('train', done[0], '--work-dir', tmp_path, '--cfg-options', *options)
    assert code == 0, stderr


def test_batch_of_one(done, hsonet, write_config, tmp_path):
    """It trains; a network that cannot, since it normalises one value a channel, says so."""
    one = 'train_dataloader.batch_size=1'
    code, _, stderr = hsonet('train', done[0], '--work-dir', tmp_path / 'a', '--cfg-options', one)
    assert code == 0, stderr
    head = {'_delete_': True, 'type': 'mmseg.ASPPHead', 'in_channels': 64, 'in_index': 3, 'channels': 8,
            'dilations': (1, ), 'num_classes': 2, 'out_channels': 1, 'threshold': 0.5, 'norm_cfg': {'type': 'BN'},
            'loss_decode': {'type': 'hsonet_mm.EOLoss'}}  # fmt: skip
    neck = {'_delete_': True, 'type': 'FeatureFusionNeck', 'policy': 'abs_diff', 'out_indices': (0, 1, 2, 3)}
    changes = {
        'model.decode_head': head,
        'model.neck': neck,
        'model.detail': None,
        'model.type': 'SiamEncoderDecoder',
    }
    config = write_config(tmp_path / 'aspp.py', changes)
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'b', '--cfg-options', one)
    assert code == 2
    assert 'batch_size=2' in stderr
