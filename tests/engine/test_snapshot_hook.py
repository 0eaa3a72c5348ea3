"""Snapshots of a training: which are kept, what they hold, and what becomes of them in the next one."""

import torch

from hsonet_mm.training_log import find_snapshots, training_config


def test_evenly_spaced_beside_the_checkpoints(write_config, hsonet, tmp_path):
    config, work = write_config(tmp_path / 'c.py', {'train_cfg.max_iters': 4}), tmp_path / 'work'
    assert hsonet('train', config, '--work-dir', work, '--snapshots', 3)[0] == 0
    snapshots = find_snapshots(work)
    assert list(snapshots) == [1, 3, 4]  # 4/3, 8/3 and 12/3, rounded
    last = torch.load(snapshots[4], weights_only=True)
    final = torch.load(work / 'iter_4.pth', weights_only=True)['state_dict']
    assert last['meta']['iter'] == 4
    assert 'optimizer' not in last
    assert all(torch.equal(weight, final[name]) for name, weight in last['state_dict'].items())
    first = torch.load(snapshots[1], weights_only=True)['state_dict']
    assert not all(torch.equal(weight, final[name]) for name, weight in first.items())
    assert training_config(work).name == 'config.py'


def test_resumed_training_keeps_those_of_the_whole_run(write_config, hsonet, tmp_path):
    config, work = write_config(tmp_path / 'c.py', {'train_cfg.max_iters': 4}), tmp_path / 'work'
    command = 'train', config, '--work-dir', work, '--snapshots', 2
    assert hsonet(*command)[0] == 0
    before = (work / 'snapshot_iter_2.pth').read_bytes()
    assert hsonet(*command, '--resume', work / 'iter_2.pth')[0] == 0
    assert list(find_snapshots(work)) == [2, 4]
    assert (work / 'snapshot_iter_2.pth').read_bytes() == before
    assert [path.name for path in work.glob('earlier_*/snapshot*')] == ['snapshot_iter_4.pth']


def test_new_training_puts_earlier_ones_aside(write_config, hsonet, tmp_path):
    config, work = write_config(tmp_path / 'c.py', {'train_cfg.max_iters': 2}), tmp_path / 'work'
    assert hsonet('train', config, '--work-dir', work, '--snapshots', 2)[0] == 0
    assert hsonet('train', config, '--work-dir', work)[0] == 0
    assert not find_snapshots(work)
    assert len(list(work.glob('earlier_*/snapshot_iter_*.pth'))) == 2


def test_more_than_iterations_is_one_sentence(write_config, hsonet, tmp_path):
    config = write_config(tmp_path / 'c.py', {'train_cfg.max_iters': 4})
    for count in (0, 5):
        code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'work', '--snapshots', count)
        assert code == 2
        assert (
            stderr.strip().splitlines()[-1].startswith(f'error: invalid --snapshots {count}: expected 1 to 4')
        )
