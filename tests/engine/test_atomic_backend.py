"""Checkpoints are written whole or not at all: on a full disk, and where a training was killed."""

import errno
from pathlib import Path

import pytest
import torch

STEPS = {'train_cfg.max_iters': 4, 'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 2}


def meta(path):
    return torch.load(path, weights_only=True)['meta']


@pytest.mark.parametrize('number', [1, 2])
def test_full_disk_leaves_the_checkpoint_before(write_config, hsonet, tmp_path, monkeypatch, number):
    """Checkpoints of a validated iteration are saved twice; neither time may an earlier one be lost."""
    config, work = write_config(tmp_path / 'c.py', STEPS), tmp_path / 'work'
    write, times = Path.write_bytes, []

    def full(path, data):
        if '.iter_4.pth' in path.name:
            times.append(path)
            if len(times) == number:
                write(path, data[:1000])
                raise OSError(errno.ENOSPC, 'No space left on device')
        return write(path, data)

    monkeypatch.setattr(Path, 'write_bytes', full)
    code, _, stderr = hsonet('train', config, '--work-dir', work)
    assert code == 2
    assert 'iter_4.pth cannot be written (No space left on device): make room' in stderr.splitlines()[-1]
    saved = {path.name for path in work.glob('iter_*')}
    assert saved == {'iter_2.pth', 'iter_4.pth'} if number == 2 else {'iter_2.pth'}
    assert {meta(work / name)['iter'] for name in saved} == {int(name[5]) for name in saved}
    assert list(work.glob('.*')) == []
    monkeypatch.undo()
    code, stdout, stderr = hsonet('train', config, '--work-dir', work, '--resume')
    assert code == 0, stderr
    assert 'Trained 4 iterations' in stdout


def test_what_a_kill_cut_off_is_cleared_away(write_config, hsonet, tmp_path):
    config, work = write_config(tmp_path / 'c.py', {**STEPS, 'train_cfg.max_iters': 2}), tmp_path / 'work'
    work.mkdir()
    (work / '.iter_2.pth.0123abcd').write_bytes(b'half')
    (work / '.mine.pth.backup').write_bytes(b'')
    assert hsonet('train', config, '--work-dir', work)[0] == 0
    assert [path.name for path in work.glob('.*')] == ['.mine.pth.backup']
