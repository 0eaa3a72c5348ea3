"""The command ``hsonet train``: what it says, logs and leaves."""

import argparse
import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from hsonet_mm.config import add_config_arguments, load_config

EO_SCALARS = {'eo_zeta', 'eo_Z', 'eo_grad_foreground', 'eo_grad_hard_background', 'eo_grad_easy_background'}


@pytest.fixture(scope='module')
def checkpoint(trained):
    return trained[2] / 'iter_30.pth'


def scalars(work_dir):
    """The training and validation records of the log that MMEngine writes as JSON lines."""
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def printed_f1(stdout):
    return float(re.search(r'^changed F1 (\d\.\d{4})(?= at threshold (?!0\.5$)|$)', stdout, re.M)[1])


def test_train_says_where_everything_is(trained, checkpoint):
    done, config, work_dir = trained
    assert f'Trained 30 iterations; log and checkpoints are in {work_dir}' in done.stdout
    best = re.search(
        r'^Best on validation: (\S+) \(changed F1 \d\.\d{4} at threshold 0\.\d{3}, which it carries\)$',
        done.stdout,
        re.M,
    )[1]
    assert re.search(
        rf'^Test it: hsonet test {config} {best} --work-dir {work_dir} --cfg-options train_cfg',
        done.stdout,
        re.M,
    )
    assert torch.load(best, weights_only=True)['state_dict'].keys()
    saved = torch.load(checkpoint, weights_only=True)
    assert saved['meta']['seed'] == 7
    assert saved['meta']['iter'] == 30
    assert 'Traceback' not in done.stderr


def test_train_repeats_the_options_that_the_test_needs(write_config, hsonet, tiny_data, tmp_path):
    config = write_config(tmp_path / 'tiny.py', {'train_dataloader.dataset.data_root': 'nowhere'})
    options = [
        'train_cfg.max_iters=1',
        'train_cfg.val_interval=1',
        'model.decode_head.channels=8',
        'env_cfg.note=[a,"b c"]',
    ]
    args = ('--data-root', tiny_data, '--work-dir', tmp_path / 'my work', '--cfg-options', *options)
    code, stdout, stderr = hsonet('train', config, *args)
    assert code == 0, stderr
    (command,) = re.findall(r'^Test it: hsonet (.*)$', stdout, re.M)
    assert shlex.split(command)[3:7] == [
        '--data-root',
        str(tiny_data),
        '--work-dir',
        str(tmp_path / 'my work'),
    ]
    code, tested, stderr = hsonet(*shlex.split(command))  # the head of eight channels would not fit else
    assert code == 0, stderr
    assert 0 <= printed_f1(tested) <= 1
    (command,) = re.findall(r'^Calibrate its probabilities: hsonet (.*)$', stdout, re.M)
    code, stdout, stderr = hsonet(*shlex.split(command))
    assert code == 0, stderr
    assert Path(f'{shlex.split(command)[2]}.calibration.json').is_file()


def annealed(progress):
    """Zeta of the shipped configs: a cosine from 1 to the floor of 0.5."""
    return 0.5 + (1 + np.cos(np.pi * progress)) / 4


def test_log_holds_the_schedule(trained):
    done, _, work_dir = trained
    steps = [record for record in scalars(work_dir) if 'loss' in record]
    assert [record['step'] for record in steps] == list(range(1, 31))
    assert steps[0].keys() >= EO_SCALARS
    shares = [steps[-1][key] for key in sorted(EO_SCALARS) if 'grad' in key]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert steps[0]['eo_zeta'] == 1
    assert steps[-1]['eo_zeta'] == pytest.approx(annealed(29 / 30))
    (line,) = re.findall(r'^.*Iter\(train\) +\[30/30\].*$', done.stdout, re.M)
    assert all(f'{key}: ' in line for key in EO_SCALARS)


def test_log_lists_no_parameters(trained):
    assert 'paramwise_options' not in trained[0].stdout + trained[0].stderr


def test_log_of_a_validation_lists_what_was_measured(trained):
    (log,) = trained[2].glob('*/*.log')
    lines = [line for line in log.read_text().splitlines() if 'Iter(val)' in line and 'changed/f1' in line]
    assert lines
    for line in lines:
        names = re.findall(r'([\w/.]+):(?= )', line.partition('changed/precision')[2])
        assert all(name.startswith('changed/') or name in ('data_time', 'time') for name in names), line


def test_tensorboard_holds_the_schedule(trained):
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    (path,) = trained[2].glob('*/vis_data/events.*')
    events = reader.EventAccumulator(str(path)).Reload()
    assert EO_SCALARS | {'loss', 'changed/f1'} <= set(events.Tags()['scalars'])
    zeta = {event.step: event.value for event in events.Scalars('eo_zeta')}
    assert zeta[1] == 1
    assert zeta[10] == pytest.approx(annealed(9 / 30))


@pytest.fixture(scope='module')
def segmentation(tmp_path_factory, repo):
    """The config for LoveDA with a small network, data and work dir: one of MMSegmentation's, without our protocols."""
    folder = tmp_path_factory.mktemp('segmentation')
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for kind in ('img_dir', 'ann_dir'):
            (folder / f'data/{kind}/{split}').mkdir(parents=True)
        for name in ('0', '1'):
            cv2.imwrite(
                str(folder / f'data/img_dir/{split}/{name}.png'), rng.integers(0, 256, (64, 64, 3), np.uint8)
            )
            cv2.imwrite(
                str(folder / f'data/ann_dir/{split}/{name}.png'), rng.integers(1, 8, (64, 64), np.uint8)
            )
    cfg = Config.fromfile(repo / 'configs/segmentation/fcn_r18_loveda_eoloss.py')
    cfg.merge_from_dict({
        'model.backbone.init_cfg': None, 'model.backbone.base_channels': 8, 'model.backbone.stem_channels': 8,
        'model.data_preprocessor.size': (64, 64), 'model.decode_head.in_channels': 64, 'model.decode_head.channels': 8,
        'train_dataloader.dataset.pipeline.2.crop_size': (64, 64), 'train_dataloader.batch_size': 2,
        'train_cfg.max_iters': 2, 'train_cfg.val_interval': 1, 'default_hooks.checkpoint.interval': 1,
        'default_hooks.logger.interval': 1,
    })  # fmt: skip
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
    cfg.dump(folder / 'fcn.py')
    return folder / 'fcn.py', folder / 'data', folder / 'work'


def test_config_of_mmsegmentation(segmentation, hsonet, tmp_path):
    config, data, work_dir = segmentation
    tensorboard = ['--tensorboard'] if find_spec('tensorboard') else []
    code, stdout, stderr = hsonet('train', config, '--data-root', data, '--work-dir', work_dir, *tensorboard)
    assert code == 0, stderr
    best, figure = re.search(r'^Best on validation: (\S+) \((.*)\)$', stdout, re.M).groups()
    assert re.fullmatch(r'mIoU \d+\.\d{4}', figure)
    assert len(list(work_dir.glob('*/vis_data/events.*'))) == len(tensorboard)
    assert any(record.get('mIoU') is not None for record in scalars(work_dir))

    out = tmp_path / 'scores.json'
    tested = ('test', config, best, '--data-root', data, '--work-dir', tmp_path / 'work')
    code, stdout, stderr = hsonet(*tested, '--out', out)
    assert code == 0, stderr
    scores = json.loads(out.read_text())
    assert f'mIoU {scores["mIoU"]:.4f}' in stdout.splitlines()[-1]
    for options, sentence in {
        ('--protocol', 'tiles_256'): "invalid --protocol 'tiles_256': expected",
        ('--threshold', 'val'): '--threshold val requires hsonet_mm.ChangeMetric',
        ('--threshold', '0.3'): '--threshold requires hsonet_mm.ChangeMetric',
        ('--show-dir', tmp_path / 'show'): '--show-dir requires a visualizer',
    }.items():
        code, _, stderr = hsonet(*tested, *options)
        assert code == 2
        assert f'error: {sentence}' in stderr


def test_shipped_config_by_options_alone(hsonet, repo, tiny_data, tmp_path):
    """The config for CPUs trains on another data set without an edit."""
    code, stdout, stderr = hsonet(
        'train', repo / 'configs/hsonet_lite_levir.py', '--data-root', tiny_data, '--work-dir', tmp_path,
        '--iters', 1, '--cfg-options', 'model.backbone.init_cfg=None',
        'train_dataloader.batch_size=2', 'train_dataloader.num_workers=1', 'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False', 'train_dataloader.dataset.pipeline.3.crop_size=64',
        'train_dataloader.dataset.pipeline.2.min_size=64',
    )  # fmt: skip
    assert code == 0, stderr
    assert 'Trained 1 iteration;' in stdout
    assert 'Best on validation: ' in stdout


def test_seed_decides(write_config, hsonet, tmp_path):
    losses = {}
    for run, seed in {'first': 3, 'second': 3, 'other': 4}.items():
        config = write_config(tmp_path / f'{run}.py', {'train_cfg.val_interval': 100})
        args = ('--seed', seed, '--work-dir', tmp_path / run, '--cfg-options', 'train_cfg.max_iters=2')
        assert hsonet('train', config, *args)[0] == 0
        losses[run] = [record['loss'] for record in scalars(tmp_path / run) if 'loss' in record]
    assert losses['first'] == losses['second']
    assert losses['first'] != losses['other']


def test_seed_goes_into_a_config_without_one(tmp_path):
    config = tmp_path / 'bare.py'
    config.write_text('train_cfg = dict(max_iters=1)')
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    assert load_config(parser.parse_args([str(config), '--seed', '7'])).randomness == {'seed': 7}
    config.write_text('randomness = dict(seed=1, deterministic=True)')
    cfg = load_config(parser.parse_args([str(config), '--seed', '7']))
    assert cfg.randomness == {'seed': 7, 'deterministic': True}


def test_work_dir_has_the_configs_name(write_config, hsonet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path / 'named.py', {'train_cfg.val_interval': 100})
    assert hsonet('train', config, '--cfg-options', 'train_cfg.max_iters=2')[0] == 0
    assert (tmp_path / 'work_dirs/named/iter_2.pth').is_file()
    (last,) = (tmp_path / 'work_dirs/named/last_checkpoint').read_text().splitlines()
    assert last.endswith('iter_2.pth')
