"""The command ``hsonet explain``: what its page shows, and mistakes as one sentence."""

import re
import shutil
import sys

import cv2
import pytest

pytest.importorskip('captum')
pytest.importorskip('sklearn')
pytest.importorskip('matplotlib')

from hsonet_mm.explain.figures import shares_figure
from hsonet_mm.explain.page import movement

LOG = [
    {'step': step, 'eo_grad_foreground': share, 'eo_grad_hard_background': 0.75 - share,
     'eo_grad_easy_background': 0.25}
    for step, share in ((10, 0.5), (20, 0.25), (30, 0.25), (40, 0.25), (50, 0.0))
]  # fmt: skip


def test_movement_of_the_gradient():
    assert movement([{'step': 5, 'loss': 1.0}, *LOG]) == [
        ('foreground', 50, 0),
        ('hard background', 25, 75),
        ('easy background', 25, 25),
    ]
    assert movement([{'step': 5, 'loss': 1.0}]) == []


def test_plot_of_the_gradient():
    axes = shares_figure(LOG, [20, 50]).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [20, 50]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        'foreground', 'hard background', 'easy background', 'snapshots',
    ]  # fmt: skip
    with_edges = [{**one, 'eo_grad_edges': 0.5} for one in LOG]
    assert shares_figure(with_edges, []).axes[0].lines[0].get_ydata().tolist() == [50] * 5
    assert shares_figure([{'step': 5}], []) is None


@pytest.fixture
def images(tiny_data):
    return tiny_data / 'test/A/0.png', tiny_data / 'test/B/0.png'


def test_page_of_a_pair(tiny_checkpoint, images, hsonet, tmp_path):
    command = 'explain', *tiny_checkpoint, *images, '-o'
    code, stdout, stderr = hsonet(*command, tmp_path / 'a.html', '--pictures', tmp_path / 'figures')
    assert code == 0, stderr
    assert 'Grad-CAM at decode_head.decoder' in stdout
    page = (tmp_path / 'a.html').read_text()
    assert [
        len(re.findall(f'relation p{k}, {date}', page)) for k in range(2, 6) for date in ('before', 'after')
    ] == [1] * 8
    assert len(re.findall('Grad-CAM, (before|after)', page)) == 2
    assert not re.findall(r'(?:src|href)="(?!data:|#)|url\((?!#)', page.replace('xlink:', ''))
    assert sorted(path.name for path in (tmp_path / 'figures').iterdir()) == ['network_1.png', 'pair.png']
    corner = cv2.imread(str(tmp_path / 'figures/pair.png'), cv2.IMREAD_UNCHANGED)[0, 0]
    assert (corner == 255).all()  # on white, not transparent
    assert hsonet(*command, tmp_path / 'b.html')[0] == 0
    assert (tmp_path / 'b.html').read_bytes() == (tmp_path / 'a.html').read_bytes()


def test_layer_is_chosen(tiny_checkpoint, images, hsonet, tmp_path):
    out = tmp_path / 'x.html'
    code, stdout, _ = hsonet(
        'explain', *tiny_checkpoint, *images, '-o', out, '--layer', 'decode_head.refinement'
    )
    assert code == 0
    assert 'Grad-CAM at decode_head.refinement' in stdout
    assert 'Grad-CAM, both dates' in out.read_text()


def test_network_without_association(images, write_config, hsonet, tmp_path):
    """A baseline, trained for one iteration: no relation maps, and Grad-CAM all the same."""
    changes = {'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1, 'model.decode_head.association': False}
    config = write_config(
        tmp_path / 'plain.py', {**changes, 'model.decode_head.in_channels': [8, 8, 8, 16, 16, 16, 16, 64]}
    )
    assert hsonet('train', config, '--work-dir', tmp_path / 'work')[0] == 0
    out = tmp_path / 'x.html'
    assert hsonet('explain', config, tmp_path / 'work/iter_1.pth', *images, '-o', out)[0] == 0
    assert 'no foreground-scene association, hence no relation maps' in out.read_text()
    assert 'relation p2' not in out.read_text()
    assert 'Grad-CAM, before' in out.read_text()


@pytest.fixture(scope='module')
def trained(tmp_path_factory, write_config, forget_runs):
    """The work dir of a training with snapshots."""
    from hsonet_mm.cli import main

    work = tmp_path_factory.mktemp('explained') / 'work'
    changes = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'model.decode_head.prior': 0.5}
    config = write_config(work.parent / 'tiny.py', changes)
    forget_runs()
    assert main(['train', str(config), '--work-dir', str(work), '--snapshots', '2', '--seed', '0']) == 0
    return work


def test_page_over_a_training(trained, images, hsonet, tmp_path):
    out = tmp_path / 'x.html'
    code, stdout, stderr = hsonet(
        'explain', '--work-dir', trained, *images, '-o', out, '--features', 'val', '--samples', '30'
    )
    assert code == 0, stderr
    page = out.read_text()
    assert re.findall('<h3>(.*)</h3>', page) == ['iteration 1', 'iteration 2']
    assert 'share of the gradient, %' in page
    assert re.findall(r'(iteration \d): silhouette -?0\.\d{3}', stdout) == ['iteration 1', 'iteration 2']
    assert re.findall(r'silhouette -?0\.\d{3}', page)
    assert 'mean relation' in page
    assert '90 pixels of the 2 pairs of split val' in page


def test_log_without_shares(trained, images, hsonet, tmp_path):
    work, out = tmp_path / 'work', tmp_path / 'x.html'
    shutil.copytree(trained, work)
    for log in work.glob('*/vis_data/scalars.json'):
        log.write_text(log.read_text().replace('eo_grad', 'other'))
    (work / 'snapshot_iter_2.pth').unlink()
    assert hsonet('explain', '--work-dir', work, *images, '-o', out)[0] == 0
    assert 'holds no shares of the gradient: they are logged by EO-loss alone' in out.read_text()


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['{config}', '{checkpoint}'], 'no network, or nothing to show: give CONFIG CHECKPOINT'),
        (['{a}', '{b}'], 'no network, or nothing to show: give CONFIG CHECKPOINT'),
        (['{config}', '{checkpoint}', '{a}'], '0.png: give CONFIG CHECKPOINT'),
        (['m.onnx', '{a}', '{b}'], 'm.onnx is an exported model, whose layers cannot be inspected'),
        (['--work-dir', '{empty}', '{a}', '{b}'], 'contains no training log: give the work directory of hsonet train'),
        (['{config}', '{checkpoint}', '{a}', '{b}', '--layer', 'neck'], "invalid --layer 'neck': expected"),
        (['{config}', '{checkpoint}', '{a}', '{empty}'], 'empty is a folder, a pipe or a device'),
        (['{config}', '{checkpoint}', '--features', 'val', '--samples', '5'], '--samples 5'),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(arguments, sentence, tiny_checkpoint, images, hsonet, tmp_path):
    config, checkpoint = tiny_checkpoint
    (tmp_path / 'empty').mkdir()
    names = dict(config=config, checkpoint=checkpoint, a=images[0], b=images[1], empty=tmp_path / 'empty')
    out = tmp_path / 'x.html'
    code, _, stderr = hsonet('explain', *(one.format(**names) for one in arguments), '-o', out)
    assert code == 2
    error = stderr.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert sentence in error
    assert not out.exists()


def test_no_snapshots(trained, images, hsonet, tmp_path):
    work = tmp_path / 'work'
    shutil.copytree(trained, work, ignore=shutil.ignore_patterns('snapshot_*'))
    code, _, stderr = hsonet('explain', '--work-dir', work, *images, '-o', tmp_path / 'x.html')
    assert code == 2
    assert 'contains no snapshots of its training (snapshot_iter_N.pth): train with --snapshots 5' in stderr


@pytest.mark.parametrize(('module', 'package'), [('captum', 'captum'), ('matplotlib', 'matplotlib')])
def test_missing_extra(module, package, tiny_checkpoint, images, hsonet, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    code, _, stderr = hsonet('explain', *tiny_checkpoint, *images, '-o', tmp_path / 'x.html')
    assert code == 2
    assert stderr.strip() == (
        f'error: hsonet explain needs {package}, which is not installed: pip install "hsonet_mm[explain]"'
    )
