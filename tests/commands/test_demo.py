"""The demo command from end to end, on few and small pairs."""

import json
import re
import warnings

import cv2
import numpy as np
import pytest
import torch

from hsonet_mm.commands import demo as run
from hsonet_mm.demo import page
from hsonet_mm.engine.mixed_precision import set_precision
from hsonet_mm.inference.calibration import sidecar_of
from hsonet_mm.pages import COLOURS, draw_errors


@pytest.fixture
def small(monkeypatch):
    """Little data, and batches to fit."""
    monkeypatch.setattr(run, 'PAIRS', {'train': 4, 'val': 1, 'test': 3})
    monkeypatch.setattr(run, 'SIZE', 128)
    monkeypatch.setattr(run, 'EXAMPLES', 2)
    prepare = run.prepare_config

    def prepare_small(args):
        cfg = prepare(args)
        set_precision(cfg, 'off')  # the first bfloat16 in a process of tests can end it at a signal
        cfg.train_dataloader.batch_size = 2
        for split in ('train', 'val', 'test'):
            cfg[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
        return cfg

    monkeypatch.setattr(run, 'prepare_config', prepare_small)


@pytest.mark.any_host
@pytest.mark.usefixtures('small')
def test_demo_from_data_to_page(hsonet, tmp_path, monkeypatch):
    monkeypatch.setattr(run, 'PRETRAINED', 'no_such_package')  # from scratch, as without the package
    out = tmp_path / 'demo'
    (out / 'work_dir').mkdir(parents=True)
    for iteration in (1, 2, 3):
        checkpoint = out / f'work_dir/best_changed_f1_iter_{iteration}.pth'
        sidecar_of(checkpoint).write_text('a calibration of an earlier demo')
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.* instance named of ')
        code, stdout, _ = hsonet('demo', '--out', out, '--iters', 3, '--seed', 1)
    assert code == 0
    assert 'from scratch' in stdout
    assert '3/3 iterations' in stdout
    assert 'INFO' not in stdout
    f1 = re.fullmatch(r'changed F1 (\d\.\d{4})', stdout.splitlines()[-1])[1]
    scores = re.search(r'^0\.5 +\d\.\d{4} +\d\.\d{4} +(\d\.\d{4})', stdout, re.M)[1]
    assert scores == f1
    assert 'chosen on validation' in stdout
    assert re.search(r'^background +3 ', stdout, re.M)

    text = (out / 'index.html').read_text(encoding='utf-8')
    assert f'changed F1 {f1}' in text
    objects = json.loads((out / 'work_dir/test_half.json').read_text())['objects']
    line = re.search(r'^all +(\d+) +(\d+) +(\d+) ', stdout, re.M)
    assert [int(one) for one in line.groups()] == [
        objects['labelled'],
        objects['found'],
        objects['false_alarms'],
    ]
    assert (
        objects['labelled'] == sum(one['labelled'] for one in objects['groups'] if one['kind'] == 'size') > 0
    )
    shown = ''.join(f'<td>{objects[name]:.4f}</td>' for name in ('precision', 'recall', 'f1', 'ap'))
    assert f'<td>0.5</td>{shown}' in text
    assert text.count('<img src="data:image/') == 2 * len(page.VIEWS)
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert len(list((out / 'pictures').glob('*.png'))) == 2 * len(page.VIEWS)
    order = [float(value) for value in re.findall(r'<h3>test_\d+: F1 (\d\.\d+)', text)]
    assert order == sorted(order)


def test_pretrained_weights_are_used_where_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(run, 'PRETRAINED', 'json')  # any package that is there
    args = run.argparse.Namespace(out=tmp_path, seed=5, iters=None)
    cfg = run.prepare_config(args)
    assert cfg.model.backbone.init_cfg.checkpoint.startswith('package://')
    assert cfg.randomness.seed == 5
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype) == (
        'hsonet_mm.MixedPrecisionOptimWrapper',
        'auto',
    )
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters


def test_other_numbers_of_iterations_end_at_learning_rate_zero(tmp_path):
    cfg = run.prepare_config(run.argparse.Namespace(out=tmp_path, seed=0, iters=66))
    warm_up, decay = cfg.param_scheduler
    assert 0 < warm_up.end < 10
    assert (warm_up.begin, decay.begin, decay.end) == (0, warm_up.end, 66)
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 22


def test_bad_number_of_iterations(hsonet, tmp_path):
    code, _, stderr = hsonet('demo', '--out', tmp_path, '--iters', 0)
    assert code == 2
    assert '--iters 0' in stderr
    assert not list(tmp_path.iterdir())


def test_missing_config_is_named(monkeypatch):
    monkeypatch.setattr(run, 'CONFIG', 'no_such_config.py')
    with pytest.raises(run.UserError, match=r'no_such_config\.py'):
        run.demo_config()


def test_colours_of_right_and_wrong():
    pred = np.array([[True, True], [False, False]])
    label = np.array([[True, False], [True, False]])
    drawn = draw_errors(pred, label)[..., ::-1].reshape(4, 3)
    assert [tuple(colour) for colour in drawn.tolist()] == list(COLOURS.values())


def test_probabilities_get_lighter():
    drawn = page.draw_probs(np.linspace(0, 1, 5, dtype=np.float32)[None])
    grey = cv2.cvtColor(drawn, cv2.COLOR_BGR2GRAY)[0].astype(int)
    assert (np.diff(grey) > 0).all()


def test_pair_without_change_and_alarm_is_not_the_worst(tmp_path):
    views = {name: np.zeros((4, 4, 3), np.uint8) for name in page.VIEWS}
    pixels = torch.zeros(4, 4, dtype=torch.bool)
    quiet = page.Example('quiet', run.confusion(pixels, pixels), views)
    wrong = page.Example('wrong <b>', run.confusion(~pixels, pixels), views)
    figures = dict.fromkeys(('precision', 'recall', 'f1', 'iou', 'kappa', 'ap'), 0.5)
    scores = {**figures, 'objects': {**figures, 'groups': [], 'min_area': 8, 'matched_above_iou': 0.5}}
    report = page.Report([('0.5', scores)], [], page.Curve([], [], [(1, 0.5)], 0.5), [quiet, wrong], 2)
    text = page.write_page(tmp_path / 'index.html', report).read_text()
    assert text.index('wrong &lt;b&gt;: F1 0.000') < text.index('quiet: F1 1.000')


@pytest.mark.usefixtures('small')
def test_data_alone(hsonet, tmp_path):
    code, stdout, _ = hsonet('demo', '--data-only', '--pairs', 2, 1, 3, '--out', tmp_path)
    assert code == 0
    assert f'{tmp_path / "data"}' in stdout.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ['data']
    found = {
        split: len(list((tmp_path / 'data' / split / 'A').iterdir())) for split in ('train', 'val', 'test')
    }
    assert found == {'train': 2, 'val': 1, 'test': 3}

    # A second run takes the data as they are.
    made = (tmp_path / 'data' / 'manifest.json').stat().st_mtime_ns
    again = ('demo', '--data-only', '--pairs', 2, 1, 3, '--out', tmp_path)
    assert hsonet(*again)[0] == 0
    assert (tmp_path / 'data' / 'manifest.json').stat().st_mtime_ns == made
    code, _, stderr = hsonet(*again, '--seed', 1)
    assert code == 2
    assert 'other parameters' in stderr


def test_no_split_may_be_empty(hsonet, tmp_path):
    code, _, stderr = hsonet('demo', '--data-only', '--pairs', 2, 0, 3, '--out', tmp_path)
    assert code == 2
    assert stderr == 'error: invalid --pairs 2 0 3: expected 1 or more for each split\n'
