"""The command ``hsonet test``: scores, protocols, thresholds and pictures, and prediction beside it."""

import json
import re
import shutil
from itertools import combinations

import cv2
import pytest
import torch
from mmengine.config import Config
from scipy.special import expit, logit

from hsonet_mm.commands.test import apply_protocol
from hsonet_mm.inference.calibration import Calibration, write_calibration


@pytest.fixture(scope='module')
def checkpoint(trained):
    return trained[2] / 'iter_30.pth'


def printed_f1(stdout):
    return float(re.search(r'^changed F1 (\d\.\d{4})(?= at threshold (?!0\.5$)|$)', stdout, re.M)[1])


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


def test_calibrated_probabilities_are_scored(trained, checkpoint, hsonet, tmp_path):
    """As ``hsonet predict`` does: the threshold means the same in both commands, stored or given."""
    calibrated = shutil.copy(checkpoint, tmp_path / 'c.pth')
    write_calibration(calibrated, Calibration(2.0, 0.4), {})
    counts = {}
    for name, file, options in (
        ('stored', calibrated, ()),
        ('given', calibrated, ('--threshold', 0.4)),
        ('before', checkpoint, ('--threshold', float(expit(2 * logit(0.4))))),
    ):
        out = tmp_path / f'{name}.json'
        code, stdout, stderr = hsonet(
            'test', trained[1], file, *options, '-o', out, '--work-dir', tmp_path / 'w'
        )
        assert code == 0, stderr
        counts[name] = json.loads(out.read_text())['counts']
        if name == 'stored':
            assert stdout.endswith('at threshold 0.4 (calibrated (c.pth.calibration.json))\n')
    assert counts['stored'] == counts['given'] == counts['before']


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
