"""The command line from end to end: a training as a process of its own, every other command in this process."""

import argparse
import errno
import json
import re
import runpy
import shlex
import sys
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch.nn.parallel import DistributedDataParallel

from hsonet_mm import cli, mistakes
from hsonet_mm.cli import COMMANDS, main
from hsonet_mm.commands.test import apply_protocol
from hsonet_mm.config import add_config_arguments, load_config

EO_SCALARS = {'eo_zeta', 'eo_Z', 'eo_grad_foreground', 'eo_grad_hard_background', 'eo_grad_easy_background'}
TOOLS = {
    'train': 'train',
    'test': 'test',
    'predict': 'predict',
    'prepare': 'prepare_dataset',
    'check': 'check_dataset',
    'leaderboard': 'leaderboard',
    'scene': 'scene',
    'view': 'view',
    'calibrate': 'calibrate',
    'export': 'export',
}


@pytest.fixture(scope='module')
def trained(tmp_path_factory, write_config, run_tool):
    """What ``tools/train.py`` printed, the config and the work dir."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_config(folder / 'tiny.py')
    done = run_tool(
        'tools/train.py', config, '--work-dir', folder / 'work', '--seed', 7,
        *(['--tensorboard'] if find_spec('tensorboard') else []),
        '--cfg-options', 'train_cfg.max_iters=30', 'train_cfg.val_interval=15', 'default_hooks.checkpoint.interval=15',
        'model.decode_head.prior=0.3',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, config, folder / 'work'


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
        'custom=[a,"b c"]',
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


def test_test_writes_scores_and_pictures(trained, checkpoint, hsonet, tmp_path):
    code, stdout, stderr = hsonet(
        'test', trained[1], checkpoint, '--protocol', 'tiles_256', '--threshold', 0.3,
        '--out', tmp_path / 'scores.json', '--show-dir', tmp_path / 'show', '--work-dir', tmp_path / 'work',
    )  # fmt: skip
    assert code == 0, stderr
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert (scores['protocol'], scores['threshold'], scores['images']) == ('tiles_256', 0.3, 2)
    assert scores['pixels'] == 80 * 272 + 64 * 96
    assert printed_f1(stdout) == pytest.approx(scores['f1'], abs=6e-5)
    shapes = {path.stem: cv2.imread(str(path)).shape[:2] for path in (tmp_path / 'show').rglob('*.png')}
    assert shapes == {'0': (80, 272), '1': (64, 96)}
    assert not list(tmp_path.rglob('*.pth'))


def test_protocols_differ(trained, checkpoint, hsonet, tmp_path):
    """An image wider than a tile is scored in two, which changes what the scene embedding sees."""
    scores, saved = {}, torch.load(checkpoint, weights_only=True)['meta']['val_threshold']
    own = ('model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(64,64)', 'model.test_cfg.stride=(64,64)')
    for protocol, options in {
        'whole': ('--protocol', 'whole'),
        'tiles_256': ('--protocol', 'tiles_256'),
        'model.test_cfg': ('--cfg-options', *own),
    }.items():
        out = tmp_path / f'{protocol}.json'
        args = (*options, '--out', out, '--work-dir', tmp_path / protocol)
        code, stdout, _ = hsonet('test', trained[1], checkpoint, *args)
        assert code == 0
        scores[protocol] = json.loads(out.read_text())
        assert scores[protocol]['threshold'] == saved['value']
        assert f'protocol {protocol}: 2 images' in stdout
    curves = [one['curve'] for one in scores.values()]
    assert all(one != other for one, other in combinations(curves, 2))


@pytest.mark.parametrize('name', [None, 'whole'])
def test_config_without_protocols_names_its_report_itself(name):
    cfg = Config({'model': {'test_cfg': {'mode': 'slide'}}, 'test_evaluator': {'protocol': 'slide_512'}})
    apply_protocol(cfg, name)
    assert cfg.test_evaluator.protocol == 'slide_512'
    assert cfg.model.test_cfg.mode == 'slide'


def test_threshold_from_validation(trained, checkpoint, hsonet, tmp_path):
    """``--threshold val`` is the same as the number that validation finds best, and it saves and draws no more."""
    val = ('--cfg-options', 'test_dataloader.dataset.data_prefix.img_path_from=val/A',
           'test_dataloader.dataset.data_prefix.img_path_to=val/B',
           'test_dataloader.dataset.data_prefix.seg_map_path=val/label')  # fmt: skip
    reports = []
    for name, options in {
        'on_val': val,
        'chosen': ('--threshold', 'val', '--show-dir', tmp_path / 'show'),
    }.items():
        out = tmp_path / f'{name}.json'
        code, _, stderr = hsonet(
            'test', trained[1], checkpoint, '--out', out, '--work-dir', tmp_path / name, *options
        )
        assert code == 0, stderr
        reports.append(json.loads(out.read_text()))
    on_val, chosen = reports
    assert chosen['threshold'] == on_val['best']['threshold']
    assert chosen['images'] == 2
    assert chosen['pixels'] == 80 * 272 + 64 * 96
    again = tmp_path / 'again.json'
    number = ('--threshold', chosen['threshold'], '--out', again, '--work-dir', tmp_path / 'again')
    assert hsonet('test', trained[1], checkpoint, *number)[0] == 0
    assert json.loads(again.read_text())['counts'] == chosen['counts']
    assert not list(tmp_path.rglob('*.pth'))
    shapes = [cv2.imread(str(path)).shape[:2] for path in sorted((tmp_path / 'show').rglob('*.png'))]
    assert shapes == [(80, 272), (64, 96)]


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


def test_predict_a_pair(trained, checkpoint, hsonet, tiny_data, tmp_path):
    pair = (tiny_data / 'test/A/0.png', tiny_data / 'test/B/0.png')
    code, stdout, stderr = hsonet(
        'predict', trained[1], checkpoint, *pair, '--out', tmp_path, '--threshold', 0.3
    )
    assert code == 0, stderr
    assert re.search(r'^1 pair predicted, \d+\.\d\d% of the pixels changed at threshold 0\.3', stdout, re.M)
    assert {path.name for path in tmp_path.iterdir()} == {'0_mask.png', '0_prob.png', '0_overlay.png'}
    assert cv2.imread(str(tmp_path / '0_mask.png'), 0).shape == (80, 272)


def test_predict_folders_agrees_with_test(trained, checkpoint, hsonet, tiny_data, tmp_path):
    folders = (tiny_data / 'test/A', tiny_data / 'test/B')
    code, stdout, stderr = hsonet('predict', trained[1], checkpoint, *folders, '--out', tmp_path / 'maps')
    assert code == 0, stderr
    assert '2 pairs predicted' in stdout
    hits = 0
    for name in ('0', '1'):
        mask = cv2.imread(str(tmp_path / f'maps/{name}_mask.png'), 0)
        hits += int((mask[cv2.imread(str(tiny_data / f'test/label/{name}.png'), 0) == 255] == 255).sum())
    args = ('--out', tmp_path / 'scores.json', '--work-dir', tmp_path / 'work')
    assert hsonet('test', trained[1], checkpoint, *args)[0] == 0
    assert hits == json.loads((tmp_path / 'scores.json').read_text())['counts']['tp']


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


def test_threshold_of_two_channels(write_config, hsonet, tmp_path):
    """Counts and pictures are of the threshold, which such a head does not know itself."""
    config = write_config(
        tmp_path / 'two.py', {'model.decode_head.out_channels': 2, 'model.decode_head.threshold': None}
    )
    assert hsonet('train', config, '--work-dir', tmp_path / 'work', '--iters', 1)[0] == 0
    changed, pictures = [], []
    for threshold in (1e-6, 1 - 1e-6):
        out, show = tmp_path / f'{threshold}.json', tmp_path / f'show {threshold}'
        code, _, stderr = hsonet(
            'test', config, tmp_path / 'work/iter_1.pth', '--threshold', threshold, '--out', out, '--show-dir', show,
            '--work-dir', tmp_path / 'test',
        )  # fmt: skip
        assert code == 0, stderr
        counts = json.loads(out.read_text())['counts']
        changed.append(counts['tp'] + counts['fp'])
        pictures.append({int(cv2.imread(str(path)).mean()) for path in show.rglob('*.png')})
    assert changed == [80 * 272 + 64 * 96, 0]
    assert pictures == [{255}, {0}]


@pytest.mark.parametrize('split', ['val', 'test'])
def test_split_that_the_config_lacks(write_config, hsonet, checkpoint, tmp_path, split):
    config = write_config(tmp_path / 'lacking.py')
    lacking = (f'{split}_{part} = None\n' for part in ('dataloader', 'cfg', 'evaluator'))
    config.write_text(config.read_text() + ''.join(lacking))
    options = ('--threshold', 'val', '--work-dir', tmp_path / 'work')
    code, _, stderr = hsonet('test', config, checkpoint, *options)
    assert code == 2
    assert f'has no {split}_dataloader' in stderr


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


@pytest.mark.parametrize('name', TOOLS)
def test_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, '--help'])
    assert end.value.code == 0
    assert re.match(rf'usage: hsonet {name} ', capsys.readouterr().out)


def test_hsonet_lists_its_commands(capsys):
    with pytest.raises(SystemExit) as end:
        main(['--help'])
    assert end.value.code == 0
    stdout = capsys.readouterr().out
    assert all(name in stdout for name in COMMANDS)


@pytest.mark.parametrize('argv', [[], ['fly'], ['train'], ['test', 'config.py']])
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert 'usage: hsonet' in capsys.readouterr().err


@pytest.mark.parametrize('name', TOOLS.values())
def test_tool_help(name, repo, monkeypatch, capsys):
    tool = str(repo / 'tools' / f'{name}.py')
    monkeypatch.setattr(sys, 'argv', [tool, '--help'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(tool, run_name='__main__')
    assert end.value.code == 0
    assert f'usage: {name}.py' in capsys.readouterr().out


def test_check_finds_problems(hsonet, tiny_data):
    code, stdout, _ = hsonet('check', tiny_data, '--crop', 256)
    assert code == 1
    assert 'train/A/0.png: 64x64 is smaller than the crop of 256' in stdout


@pytest.mark.parametrize(
    ('package', 'install'), [('cv2', 'opencv-python-headless'), ('mmcv', '"hsonet_mm[standalone]"')]
)
def test_missing_package_is_named(monkeypatch, capsys, package, install):
    def missing(_):
        raise ModuleNotFoundError(name=package)

    monkeypatch.setattr(cli, 'import_module', missing)
    assert main(['predict']) == 2
    assert capsys.readouterr().err == (
        f'error: hsonet predict needs {package}, which is not installed: pip install {install}\n'
    )


def test_interrupt_is_no_error(monkeypatch, capsys, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr('hsonet_mm.commands.train.load_config', interrupt)
    assert main(['train', str(tmp_path / 'any.py')]) == 130
    assert capsys.readouterr().err == 'Interrupted\n'


def test_our_own_errors_keep_their_trace(monkeypatch, tmp_path):
    def fail(_):
        raise RuntimeError('a defect')

    monkeypatch.setattr('hsonet_mm.commands.train.load_config', fail)
    with pytest.raises(RuntimeError, match='a defect'):
        main(['train', str(tmp_path / 'any.py')])


@pytest.mark.parametrize(
    ('name', 'where'), [('/full/last_checkpoint', ' with /full/last_checkpoint'), (None, '')]
)
def test_a_full_disk_is_a_sentence_wherever_it_is_met(monkeypatch, tmp_path, capsys, name, where):
    def fail(_):
        raise OSError(errno.ENOSPC, 'No space left on device', name)

    monkeypatch.setattr('hsonet_mm.commands.train.load_config', fail)
    assert main(['train', str(tmp_path / 'any.py')]) == 2
    assert f'error: the disk{where} is full (No space left on device): make room' in capsys.readouterr().err


@pytest.mark.parametrize('without_torch', [True, False])
def test_a_file_that_the_system_refuses_is_a_sentence(monkeypatch, tmp_path, capsys, without_torch):
    def fail(_):
        (tmp_path / ('x' * 300)).unlink(missing_ok=True)

    monkeypatch.setattr('hsonet_mm.commands.train.load_config', fail)
    if without_torch:
        monkeypatch.setitem(sys.modules, 'torch', None)
    assert main(['train', str(tmp_path / 'any.py')]) == 2
    said = capsys.readouterr().err
    assert f'error: {tmp_path}/xxx' in said
    assert 'x cannot be used (File name too long): correct its name' in said


@pytest.mark.parametrize(
    ('arguments', 'where'),
    [
        (['', 'after.png', '-o', 'out'], 'behind predict'),
        (['before.png', 'after.png', '-o', ''], 'behind -o'),
        (['before.png', 'after.png', '--out='], '--out'),
    ],
)
def test_an_empty_argument_is_refused(capsys, monkeypatch, tmp_path, arguments, where):
    """As a path it would be the working directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        main(['predict', *arguments])
    assert error.value.code == 2
    assert f'an argument is empty ({where})' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_process_group_ends_with_its_threads(tmp_path):
    """Also where a cycle holds it, as MMEngine's runner does: a thread that is left aborts an exit now and then."""

    def threads():
        names = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]
        return [name for name in names if 'gloo' in name]

    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    runner = {'model': DistributedDataParallel(torch.nn.Linear(1, 1))}
    runner['hooks'] = [runner]
    del runner
    assert threads()
    mistakes.leave_process_group()
    assert not threads()
