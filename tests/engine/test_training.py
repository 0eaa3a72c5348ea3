"""Training as a whole: it learns, survives being killed, and does not depend on the number of processes."""

import json
import math
import signal
import subprocess
import sys
import time
from argparse import Namespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from hsonet_mm.config import set_up_processes
from hsonet_mm.models import EOLoss


def records(work_dir):
    """The training records of all runs in a work dir, by iteration; later runs replace earlier ones."""
    found = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if 'loss' in record:
                found[record['step']] = record
    return found


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def annealed(step, steps):
    """Zeta of the shipped configs: a cosine from 1 to the floor of 0.5."""
    return 0.5 + (1 + math.cos(math.pi * step / steps)) / 4


@pytest.fixture
def zetas(monkeypatch):
    """The annealing values of all batches trained in this process, in order."""
    seen = []
    original = EOLoss.zeta

    def zeta(self, progress):
        seen.append(original(self, progress))
        return seen[-1]

    monkeypatch.setattr(EOLoss, 'zeta', zeta)
    return seen


def test_two_images_are_learnt_by_heart(write_config, hsonet, tmp_path):
    train = 'train_dataloader.dataset'
    same = {f'val_dataloader.dataset.data_prefix.{key}': f'train/{folder}'
            for key, folder in (('img_path_from', 'A'), ('img_path_to', 'B'), ('seg_map_path', 'label'))}  # fmt: skip
    config = write_config(
        tmp_path / 'overfit.py',
        {
            f'{train}.indices': 2,
            'val_dataloader.dataset.indices': 2,
            **same,
            'optim_wrapper.optimizer.lr': 1e-2,
            'param_scheduler': [{'type': 'PolyLR', 'power': 1.0, 'eta_min': 0.0, 'by_epoch': False}],
            'train_cfg.max_iters': 150,
            'train_cfg.val_interval': 50,
            'default_hooks.checkpoint.interval': 1000,
            'default_hooks.logger.interval': 50,
        },
    )
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'work')
    assert code == 0, stderr
    (log,) = (tmp_path / 'work').glob('*/vis_data/scalars.json')
    f1 = [json.loads(line)['changed/f1'] for line in log.read_text().splitlines() if 'changed/f1' in line]
    assert f1[-1] > 0.98, f1


def test_killed_training_goes_on_as_if_nothing_had_happened(
    write_config, hsonet, repo, tool_env, tmp_path, zetas
):
    """The schedule continues exactly and, as the data are not augmented at random, so do the weights."""
    steps = 60
    changes = {
        'train_cfg.max_iters': steps,
        'train_cfg.val_interval': 1000,
        'default_hooks.checkpoint.interval': 10,
        'default_hooks.checkpoint.save_best': None,
    }
    config = write_config(tmp_path / 'killed.py', changes)
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    assert hsonet('train', config, '--work-dir', whole)[0] == 0
    expected = [annealed(step, steps) for step in range(steps)]
    assert zetas == pytest.approx(expected, abs=1e-12)

    command = [sys.executable, 'tools/train.py', str(config), '--work-dir', str(killed)]
    with subprocess.Popen(
        command, cwd=repo, env=tool_env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        patience = time.monotonic() + 120
        while len(records(killed)) < 24 and time.monotonic() < patience:
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
    last = int((killed / 'last_checkpoint').read_text().rsplit('iter_', 1)[1].removesuffix('.pth'))
    assert run.returncode == -signal.SIGKILL
    assert 20 <= last < steps
    assert not (killed / f'iter_{steps}.pth').exists()

    zetas.clear()
    code, _, stderr = hsonet('train', config, '--work-dir', killed, '--resume')
    assert code == 0, stderr
    assert zetas == pytest.approx(expected[last:], abs=1e-12)
    before, after = records(whole), records(killed)
    assert after.keys() == before.keys() == set(range(1, steps + 1))
    for step in range(1, steps + 1):
        assert after[step]['eo_zeta'] == before[step]['eo_zeta']
        assert after[step]['loss'] == pytest.approx(before[step]['loss'], rel=1e-3)
    end, resumed_end = weights(whole / f'iter_{steps}.pth'), weights(killed / f'iter_{steps}.pth')
    for name, weight in end.items():
        torch.testing.assert_close(resumed_end[name], weight, rtol=1e-3, atol=1e-4, msg=name)


def test_checkpoint_cut_off_by_a_kill_is_passed_over(write_config, hsonet, tmp_path):
    """A kill while a checkpoint is written leaves half a file, but the one before is what resuming takes."""
    config = write_config(tmp_path / 'half.py', {'train_cfg.max_iters': 4, 'train_cfg.val_interval': 100})
    options = ('--work-dir', tmp_path / 'work')
    assert hsonet('train', config, *options, '--cfg-options', 'train_cfg.max_iters=2')[0] == 0
    (tmp_path / 'work/iter_4.pth').write_bytes((tmp_path / 'work/iter_2.pth').read_bytes()[:1000])
    code, stdout, stderr = hsonet('train', config, *options, '--resume')
    assert code == 0, stderr
    assert 'Trained 4 iterations' in stdout
    assert torch.load(tmp_path / 'work/iter_4.pth', weights_only=True)['meta']['iter'] == 4


def test_schedule_under_gradient_accumulation(write_config, hsonet, tmp_path, zetas):
    changes = {
        'optim_wrapper.accumulative_counts': 2,
        'train_cfg.max_iters': 20,
        'train_cfg.val_interval': 1000,
        'default_hooks.checkpoint.interval': 10,
    }
    config = write_config(tmp_path / 'accumulated.py', changes)
    assert hsonet('train', config, '--work-dir', tmp_path / 'work')[0] == 0
    expected = [annealed(step, 20) for step in range(20)]
    assert zetas == pytest.approx(expected, abs=1e-12)
    log = records(tmp_path / 'work')
    assert log[20]['eo_zeta'] == annealed(19, 20)
    (tmp_path / 'work/last_checkpoint').write_text(str(tmp_path / 'work/iter_10.pth'))
    zetas.clear()
    assert hsonet('train', config, '--work-dir', tmp_path / 'work', '--resume')[0] == 0
    assert zetas == pytest.approx(expected[10:], abs=1e-12)


def test_schedule_in_an_epoch_based_training(write_config, hsonet, tmp_path, zetas):
    """Four pairs in batches of two: two iterations an epoch."""
    changes = {
        'train_cfg': {'_delete_': True, 'type': 'EpochBasedTrainLoop', 'max_epochs': 5, 'val_interval': 5},
        'train_dataloader.sampler': {'_delete_': True, 'type': 'DefaultSampler', 'shuffle': True},
        'default_hooks.checkpoint.by_epoch': True,
        'default_hooks.checkpoint.interval': 1,
        'log_processor.by_epoch': True,
        'default_hooks.logger.log_metric_by_epoch': True,
    }
    config = write_config(tmp_path / 'epochs.py', changes)
    code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / 'work')
    assert code == 0, stderr
    assert zetas == pytest.approx([annealed(step, 10) for step in range(10)], abs=1e-12)
    assert records(tmp_path / 'work')[10]['eo_zeta'] == annealed(9, 10)
    (tmp_path / 'work/last_checkpoint').write_text(str(tmp_path / 'work/epoch_4.pth'))
    zetas.clear()
    assert hsonet('train', config, '--work-dir', tmp_path / 'work', '--resume')[0] == 0
    assert zetas == pytest.approx([annealed(step, 10) for step in range(8, 10)], abs=1e-12)


def test_checkpoints_load_again_and_again(write_config, hsonet, tmp_path):
    """Loading is safe, which must not be a matter of what was loaded before."""
    from mmengine.runner import load_checkpoint

    from hsonet_mm import ChangeDetector
    from hsonet_mm.checkpoints import load_weights

    config = write_config(tmp_path / 'again.py', {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 100})
    assert hsonet('train', config, '--work-dir', tmp_path / 'work')[0] == 0
    path = tmp_path / 'work/iter_2.pth'
    model = ChangeDetector.from_checkpoint(config, path).model.network
    for _ in range(2):
        load_checkpoint(model, str(path))
        load_weights(model, path)


def torchrun(script, *args):
    return ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', script, *args]


def test_batch_norms_are_not_synchronised_without_a_gpu(monkeypatch):
    """PyTorch refuses to; Open-CD's configs ask for it."""
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda _: None)
    norms = [
        {'type': 'SyncBN', 'requires_grad': True},
        {'type': 'mmseg.SyncBN'},
        {'type': 'GN', 'num_groups': 4},
    ]
    heads = [{'type': 'FCNHead', 'norm_cfg': norm} for norm in norms]
    cfg = Config({'model': {'backbone': {'norm_cfg': norms[0]}, 'auxiliary_head': heads}})
    set_up_processes(cfg, Namespace(launcher='pytorch', local_rank=0))
    assert cfg.model.backbone.norm_cfg == {'type': 'BN', 'requires_grad': True}
    assert [head.norm_cfg.type for head in cfg.model.auxiliary_head] == ['BN', 'BN', 'GN']


def test_two_processes_train_like_one(write_config, hsonet, run_tool, tmp_path):
    """One global batch of four: the same weights after two steps, and the same scores."""
    norm = {'_delete_': True, 'type': 'GN', 'num_groups': 4}  # batch norm would see other batches
    changes = {
        'model.backbone.norm_cfg': norm,
        'model.detail.norm_cfg': {'type': 'GN', 'num_groups': 4},
        'model.decode_head.norm_cfg': norm,
        'optim_wrapper.optimizer': {'_delete_': True, 'type': 'SGD', 'lr': 0.1, 'weight_decay': 0.0},
        'train_cfg.max_iters': 2,
    }
    ends, scores = {}, {}
    for processes in (1, 2):
        batch = {'train_dataloader.batch_size': 4 // processes}
        config = write_config(tmp_path / f'{processes}.py', {**changes, **batch})
        work_dir = tmp_path / f'work_{processes}'
        if processes == 1:
            code, _, stderr = hsonet('train', config, '--work-dir', work_dir)
        else:
            args = torchrun('tools/train.py', config, '--work-dir', work_dir, '--launcher', 'pytorch')
            done = run_tool(*args)
            code, stderr = done.returncode, done.stderr
        assert code == 0, stderr
        if processes == 2:
            assert done.stdout.count('Trained 2 iterations') == 1, stderr
        ends[processes] = weights(work_dir / 'iter_2.pth')
        (log,) = work_dir.glob('*/vis_data/scalars.json')
        (scores[processes],) = [
            {key: value for key, value in json.loads(line).items() if key.startswith('changed/')}
            for line in log.read_text().splitlines()
            if 'changed/f1' in line
        ]
    for name, weight in ends[1].items():
        torch.testing.assert_close(ends[2][name], weight, rtol=1e-5, atol=1e-6, msg=name)
    assert scores[2] == pytest.approx(scores[1])
    assert np.isfinite(list(scores[1].values())).all()
