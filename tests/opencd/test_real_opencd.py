"""HSONet inside the real Open-CD: its tools, its configs, its detectors, and checkpoints that move both ways.

Runs where Open-CD can be imported. Its configs and tools are not part of the package, so its checkout must be
there too: the folder above the package, or the one in the environment variable OPENCD_ROOT. The variable
HSONET_OTHER_PYTHON may name an interpreter of another environment, without Open-CD, whose probabilities are
compared as well.
"""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from helpers import random_pairs
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_from_http, load_from_local
from mmseg.models.losses import CrossEntropyLoss
from torch import nn

import hsonet_mm
from hsonet_mm import host_imports
from hsonet_mm.models import VFPN, EOLoss, FSAssociationHead
from hsonet_mm.opencd import compat

pytestmark = [
    pytest.mark.opencd,
    pytest.mark.skipif(not compat.OPENCD_AVAILABLE, reason='Open-CD is not in this environment'),
]

ROOT = Path(__file__).parents[2]
EOLOSS = "model = dict(decode_head=dict(loss_decode=dict(_delete_=True, type='hsonet_mm.EOLoss')))"

# Configs of Open-CD (models, settings) with an ordinary loss_decode: channels of the head, losses it takes.
CONFIGS = {
    'fcsn/fc_ef_256x256_40k_levircd.py': (2, 1),
    'fcsn/fc_siam_diff_256x256_40k_levircd.py': (2, 1),
    'fcsn/fc_siam_conc_256x256_40k_levircd.py': (2, 1),
    'snunet/snunet_c16_256x256_40k_levircd.py': (2, 1),
    'bit/bit_r18_256x256_40k_levircd.py': (2, 1),
    'changer/changer_ex_r18_512x512_40k_levircd.py': (2, 1),  # hard pixels are sampled: pixel weights
    'changeformer/changeformer_mit-b0_256x256_40k_levircd.py': (2, 1),
    'lightcdnet/lightcdnet_s_256x256_40k_levircd.py': (2, 1),  # an auxiliary head, too
    'hanet/hanet_256x256_40k_levircd.py': (2, 1),
    'tinycd_v2/tinycd_v2_s_256x256_40k_levircd.py': (2, 1),
    'tinycd/tinycd_256x256_40k_levircd.py': (1, 1),
    'changestar/changestar_upernet_1x96_256x256_40k_levircd.py': (1, 2),  # once for each order of the dates
    'changestar/changestar_farseg_1x96_256x256_40k_levircd.py': (1, 2),  # a list of losses is replaced
}


@pytest.fixture(scope='session')
def opencd():
    """The checkout of Open-CD."""
    import opencd

    root = Path(os.environ.get('OPENCD_ROOT') or Path(opencd.__file__).parents[1])
    if not (root / 'tools' / 'train.py').is_file() or not (root / 'configs').is_dir():
        pytest.skip(f'{root} has no configs/ and tools/: set OPENCD_ROOT to a checkout of Open-CD')
    return root


@pytest.fixture(autouse=True)
def _own_scope(request, monkeypatch):
    """A scope and a message hub for each test, so that nothing of it is left to the next."""
    for cls in (DefaultScope, MessageHub):
        monkeypatch.setattr(cls, '_instance_dict', type(cls._instance_dict)())
    DefaultScope.get_instance(request.node.name, scope_name='opencd')
    MessageHub.get_instance(request.node.name)


def publish_progress(iteration, iterations):
    """What MMEngine's RuntimeInfoHook does in a training."""
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', iteration)
    hub.update_info('max_iters', iterations)
    hub.update_info('loop_stage', 'train')


def without_downloads(model):
    """The same model with random weights."""
    model.pretrained = None
    model.backbone.pop('init_cfg', None)
    if 'pretrained' in model.backbone:
        model.backbone.pretrained = False if model.backbone.type == 'TinyCD' else None
    return model


def total_loss(model, batch, heads='decode.'):
    """Sum of a model's losses in training mode, always with the same dropout."""
    torch.manual_seed(1)
    data = model.data_preprocessor(batch, training=True)
    losses = model.loss(data['inputs'], data['data_samples'])
    terms = {name: value for name, value in losses.items() if 'loss' in name and name.startswith(heads)}
    return sum(terms.values()), sorted(terms)


# Open-CD's tools ---------------------------------------------------------------------------------------


def options(data, config, iterations):
    """A short training of one of our configs by --cfg-options alone."""
    pipeline = Config.fromfile(config).train_dataloader.dataset.pipeline
    crop = next(i for i, step in enumerate(pipeline) if step.type == 'hsonet_mm.MultiImgBalancedCrop')
    yield '--cfg-options'
    for split in ('train', 'val', 'test'):
        yield f'{split}_dataloader.dataset.data_root={data}'
        yield f'{split}_dataloader.num_workers=0'
        yield f'{split}_dataloader.persistent_workers=False'
    yield f'train_dataloader.dataset.pipeline.{crop}.crop_size=64'
    yield 'train_dataloader.batch_size=2'
    yield 'model.backbone.init_cfg=None'
    yield f'train_cfg.max_iters={iterations}'
    yield f'train_cfg.val_interval={iterations}'
    yield 'default_hooks.checkpoint.interval=2'
    yield 'default_hooks.logger.interval=1'


def records(work_dir):
    """Lines of the training log by iteration, of all runs in a work dir."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return {line['iter']: line for line in lines if 'iter' in line}


@pytest.fixture(scope='session')
def trained(opencd, run_tool, tiny_data, tmp_path_factory):
    """The work dir of configs/hsonet_levir.py, trained and resumed by Open-CD's tools/train.py."""
    work_dir = tmp_path_factory.mktemp('opencd') / 'work'
    config = ROOT / 'configs' / 'hsonet_levir.py'
    train = (opencd / 'tools' / 'train.py', config, '--work-dir', work_dir)
    first = run_tool(*train, *options(tiny_data, config, 2))
    assert first.returncode == 0, first.stderr
    second = run_tool(*train, '--resume', *options(tiny_data, config, 10))
    assert second.returncode == 0, second.stderr
    assert 'resumed epoch: 0, iter: 2' in second.stdout + second.stderr
    return work_dir


def test_our_config_trains_and_resumes_with_opencds_tool(trained):
    """The resumed run goes on at iteration 3, and the schedule of the loss with it."""
    log = records(trained)
    assert sorted(log) == list(range(1, 11))
    assert all(np.isfinite(line['loss']) for line in log.values())
    assert log[1]['eo_zeta'] == 1
    assert log[10]['eo_zeta'] == pytest.approx(0.5 + (1 + np.cos(0.9 * np.pi)) / 4)  # the floor is 0.5
    shares = [log[10][f'eo_grad_{name}'] for name in ('foreground', 'hard_background', 'easy_background')]
    assert sum(shares) == pytest.approx(1, abs=1e-4)


def test_opencds_tool_runs_our_loop_sampler_and_checkpoint_hook(opencd, run_tool, tiny_data, tmp_path):
    """A training resumed at iteration 2 ends in the same weights, and each checkpoint has its threshold."""
    config = ROOT / 'configs' / 'hsonet_levir.py'
    settings = [*options(tiny_data, config, 4), 'train_cfg.val_interval=2', 'randomness.seed=3']
    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
    train = (opencd / 'tools' / 'train.py', config, '--work-dir')
    done = run_tool(*train, whole, *settings)
    assert done.returncode == 0, done.stderr
    resumed.mkdir()
    shutil.copy(whole / 'iter_2.pth', resumed)
    (resumed / 'last_checkpoint').write_text(str(resumed / 'iter_2.pth'))
    done = run_tool(*train, resumed, '--resume', *settings)
    assert done.returncode == 0, done.stderr
    assert sorted(records(resumed)) == [3, 4]
    ends = [torch.load(folder / 'iter_4.pth', weights_only=True) for folder in (whole, resumed)]
    assert ends[0]['state_dict'].keys() == ends[1]['state_dict'].keys()
    for name, weight in ends[0]['state_dict'].items():
        torch.testing.assert_close(ends[1]['state_dict'][name], weight, rtol=0, atol=0)
    thresholds = [end['meta']['val_threshold'] for end in ends]
    assert thresholds[0] == thresholds[1]
    assert thresholds[0]['iter'] == 4
    (best,) = whole.glob('best_changed_f1_iter_*.pth')
    threshold = torch.load(best, weights_only=True)['meta']['val_threshold']
    assert best.stem.endswith(f'_{threshold["iter"]}')


def test_our_checkpoint_holds_no_code(trained):
    content = torch.load(trained / 'iter_10.pth', map_location='cpu', weights_only=True)
    assert content['meta']['iter'] == 10
    assert 'decode_head.association.scene_encoders.0.0.weight' in content['state_dict']


def test_our_config_tests_with_opencds_tool(trained, opencd, run_tool, tiny_data, tmp_path):
    """With pictures; on images of one size, since Open-CD draws all of them at the size of the first."""
    config = ROOT / 'configs' / 'hsonet_levir.py'
    command = [opencd / 'tools' / 'test.py', config, trained / 'iter_10.pth', '--work-dir', tmp_path]
    command += ['--show-dir', tmp_path / 'pictures', *options(tiny_data, config, 10)]
    folders = {'img_path_from': 'val/A', 'img_path_to': 'val/B', 'seg_map_path': 'val/label'}
    command += [f'test_dataloader.dataset.data_prefix.{key}={folder}' for key, folder in folders.items()]
    result = run_tool(*command)
    assert result.returncode == 0, result.stderr
    (scores,) = tmp_path.glob('*/*.json')
    assert 0 <= json.loads(scores.read_text())['changed/f1'] <= 1
    assert sorted(file.name for file in (tmp_path / 'pictures').rglob('*.png')) == ['0.png', '1.png']


class Payload:
    """Pickled code that leaves a trace when it runs."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (Path.touch, (Path(self.trace),))


@pytest.mark.parametrize('use', ['test', 'load_from', 'resume'])
def test_checkpoint_with_code_is_refused_by_opencds_tools(
    use, trained, opencd, run_tool, tiny_data, tmp_path
):
    content = torch.load(trained / 'iter_10.pth', map_location='cpu', weights_only=True)
    trace, evil = tmp_path / 'trace', tmp_path / 'work' / 'iter_10.pth'
    evil.parent.mkdir()
    torch.save({**content, 'payload': Payload(trace)}, evil)
    (evil.parent / 'last_checkpoint').write_text(str(evil))
    config = ROOT / 'configs' / 'hsonet_levir.py'
    settings = [*options(tiny_data, config, 12)]
    if use == 'test':
        result = run_tool(opencd / 'tools' / 'test.py', config, evil, '--work-dir', tmp_path, *settings)
    elif use == 'load_from':
        settings.append(f'load_from={evil}')
        result = run_tool(opencd / 'tools' / 'train.py', config, '--work-dir', tmp_path / 'other', *settings)
    else:
        result = run_tool(
            opencd / 'tools' / 'train.py', config, '--work-dir', evil.parent, '--resume', *settings
        )
    assert result.returncode != 0
    assert 'weights_only' in result.stderr.lower()
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists(), 'the payload itself does nothing, so that this test would prove nothing'


@pytest.mark.parametrize('load', [load_from_local, load_from_http])
def test_checkpoint_with_code_is_refused_by_mmengine(load, tmp_path, monkeypatch):
    """No second, unsafe attempt; nor a download, which MMEngine alone would load unsafely at once."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    file = tmp_path / 'evil.pth'
    torch.save({'state_dict': {}, 'payload': Payload(tmp_path / 'trace')}, file)
    with pytest.raises(pickle.UnpicklingError, match=r'(?i)weights.only'):
        load(file.as_uri() if load is load_from_http else str(file), map_location='cpu')
    assert not (tmp_path / 'trace').exists()


@pytest.mark.skipif(
    not isinstance(sys.modules.get('mmcv._ext'), host_imports.CompiledOps), reason='mmcv has its operators'
)
def test_compiled_operators_say_what_is_missing():
    import mmcv.ops
    import mmseg.models  # noqa: F401 (fails with mmcv-lite alone)

    with pytest.raises(NotImplementedError, match='install the full mmcv'):
        mmcv.ops.nms(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([0.9]), 0.5)


# Open-CD's other tools ---------------------------------------------------------------------------------


def named(split):
    """Options by which a data set reads another split's folders."""
    folders = {'img_path_from': 'A', 'img_path_to': 'B', 'seg_map_path': 'label'}
    return [f'test_dataloader.dataset.data_prefix.{key}={split}/{name}' for key, name in folders.items()]


def test_tta_of_opencds_tool(trained, opencd, run_tool, tiny_data, tmp_path):
    """A classifier of bias 0 and large weights: the host's model would call everything changed."""
    content = torch.load(trained / 'iter_10.pth', map_location='cpu', weights_only=True)
    weights = content['state_dict']
    shape = weights['decode_head.conv_seg.weight'].shape
    weights['decode_head.conv_seg.weight'] = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weights['decode_head.conv_seg.bias'] = torch.full((1,), -0.5)
    torch.save({'state_dict': weights}, tmp_path / 'spread.pth')
    config, scores = ROOT / 'configs' / 'hsonet_levir.py', {}
    for name, flags in (('plain', []), ('tta', ['--tta'])):
        command = [opencd / 'tools' / 'test.py', config, tmp_path / 'spread.pth', *flags]
        result = run_tool(
            *command, '--work-dir', tmp_path / name, *options(tiny_data, config, 10), *named('val')
        )
        assert result.returncode == 0, result.stderr
        (file,) = (tmp_path / name).glob('*/*.json')
        scores[name] = json.loads(file.read_text())
    assert 0 < scores['tta']['changed/recall'] < 1
    assert 0.1 < scores['tta']['changed/oa'] < 1
    assert scores['tta'] != scores['plain']


def test_inferencer(trained, tiny_data, tmp_path):
    """It gives the mask of the test loop, from files and from arrays, and writes it."""
    from mmengine.registry import init_default_scope
    from opencd.apis import OpenCDInferencer

    init_default_scope('opencd')
    config, checkpoint = ROOT / 'configs' / 'hsonet_levir.py', trained / 'iter_10.pth'
    look = {'classes': ('unchanged', 'changed'), 'palette': [[0, 0, 0], [255, 255, 255]]}
    inferencer = OpenCDInferencer(model=str(config), weights=str(checkpoint), device='cpu', **look)
    pair = [str(tiny_data / 'val' / date / '0.png') for date in 'AB']
    sample = inferencer([pair], return_datasamples=True)
    probs = sample.seg_logits.data.numpy()
    inferencer.model.decode_head.threshold = float(np.median(probs))
    mask = inferencer([pair], out_dir=str(tmp_path))['predictions']
    assert mask.shape == (64, 64)
    assert np.array_equal(mask > 0, probs[0] > np.median(probs))
    assert 0.3 < (mask > 0).mean() < 0.7
    assert len([*tmp_path.rglob('*.png')]) == 2
    expected = hsonet_mm.ChangeDetector.from_checkpoint(config, checkpoint).probs(
        *(mmcv.imread(path)[None] for path in pair), channel_order='bgr'
    )
    np.testing.assert_allclose(probs, expected, atol=1e-5)


TOOLS = {
    'misc/print_config.py': [],
    'analysis_tools/get_flops.py': ['--shape', '64', '96'],
    'analysis_tools/browse_dataset.py': ['--not-show', '--output-dir', 'drawn'],
}


@pytest.mark.parametrize('name', ['hsonet_levir', 'baselines/bit_r18'])
@pytest.mark.parametrize('tool', TOOLS)
def test_tools_run_by_our_runner(tool, name, opencd, tool_env, tiny_data, tmp_path):
    config = ROOT / 'configs' / f'{name}.py'
    pipeline = Config.fromfile(config).train_dataloader.dataset.pipeline
    crop = next(i for i, step in enumerate(pipeline) if step.type == 'hsonet_mm.MultiImgBalancedCrop')
    settings = ['--cfg-options', f'train_dataloader.dataset.data_root={tiny_data}']
    settings += [f'train_dataloader.dataset.pipeline.{crop}.crop_size=48']
    settings += [f'train_dataloader.dataset.pipeline.{i}.min_size=48'
                 for i, step in enumerate(pipeline) if step.type == 'hsonet_mm.MultiImgRandomScale']  # fmt: skip
    command = [
        sys.executable,
        '-m',
        'hsonet_mm.opencd',
        opencd / 'tools' / tool,
        config,
        *TOOLS[tool],
        *settings,
    ]
    done = subprocess.run(
        [*map(str, command)], cwd=tmp_path, env=tool_env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    if 'print' in tool:
        assert Config.fromfile(tmp_path / 'example.py').model.type.endswith('SiamEncoderDecoder')
    elif 'flops' in tool:
        assert float(re.search(r'Params: ([\d.]+)M', done.stdout).group(1)) > 2
        assert float(re.search(r'Flops: ([\d.]+)G', done.stdout).group(1)) > 0.1
    else:
        drawn = [mmcv.imread(tmp_path / 'drawn' / f'{i}.png') for i in range(4)]
        assert all(image.shape == (48, 48, 3) for image in drawn)
        assert any(image.std() > 1 for image in drawn)


@pytest.mark.skipif(
    not isinstance(sys.modules.get('mmcv._ext'), host_imports.CompiledOps), reason='mmcv has its operators'
)
def test_without_the_runner_a_tool_stops_with_mmcv_lite(opencd, run_tool):
    """Why there is a runner."""
    done = run_tool(opencd / 'tools' / 'misc' / 'print_config.py', ROOT / 'configs' / 'hsonet_levir.py')
    assert done.returncode != 0
    assert 'mmcv._ext' in done.stderr


# Inheriting our configs --------------------------------------------------------------------------------

PROJECT = """\
from mmengine.config import read_base
with read_base():
    from hsonet_mm.configs.hsonet_levir import *
"""


@pytest.fixture
def installed(tool_env, tmp_path):
    """The environment of a process in which the package lies as setup.py installs it, with its configs."""
    package = tmp_path / 'site' / 'hsonet_mm'
    shutil.copytree(ROOT / 'hsonet_mm', package, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copytree(ROOT / 'configs', package / 'configs')
    metadata = package.with_name(f'hsonet_mm-{hsonet_mm.__version__}.dist-info') / 'METADATA'
    metadata.parent.mkdir()
    metadata.write_text(f'Metadata-Version: 2.1\nName: hsonet_mm\nVersion: {hsonet_mm.__version__}\n')
    return {**tool_env, 'PYTHONPATH': os.pathsep.join([str(package.parent), tool_env['PYTHONPATH']])}


def test_another_project_inherits_our_config_in_three_lines(opencd, tiny_data, installed, tmp_path):
    assert len(PROJECT.splitlines()) <= 3
    config = tmp_path / 'project' / 'mine.py'
    config.parent.mkdir()
    config.write_text(PROJECT)
    settings = options(tiny_data, ROOT / 'configs' / 'hsonet_levir.py', 2)
    command = [
        sys.executable,
        opencd / 'tools' / 'train.py',
        config,
        '--work-dir',
        tmp_path / 'work',
        *settings,
    ]
    result = subprocess.run(
        [*map(str, command)], cwd=config.parent, env=installed, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / 'work' / 'iter_2.pth').is_file()


# EO-loss in Open-CD's own configs ----------------------------------------------------------------------


def three_lines(base, override=EOLOSS):
    """A config that puts EO-loss into another one."""
    lines = [f'_base_ = {str(base)!r}', "custom_imports = dict(imports=['hsonet_mm'])", override]
    assert len(lines) <= 3
    return '\n'.join(lines)


def small(cfg, data, work_dir, iterations=1):
    """The config with small crops of our data, one process, and no validation."""
    dataset = cfg.train_dataloader.dataset
    dataset.data_root = str(data)
    for step in dataset.pipeline:
        if step.type == 'MultiImgRandomCrop':
            step.crop_size = (64, 64)
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_cfg.max_iters = iterations
    for key in (
        'val_cfg',
        'val_dataloader',
        'val_evaluator',
        'test_cfg',
        'test_dataloader',
        'test_evaluator',
    ):
        cfg[key] = None
    cfg.default_hooks.logger.interval = 1
    cfg.visualizer.name = cfg.experiment_name = f'run_{work_dir.name}_{hash(work_dir)}'
    cfg.work_dir = str(work_dir)
    return cfg


def plain_loss(head):
    """Cross entropy for a head, over the pixels whose label is known."""
    return CrossEntropyLoss(use_sigmoid=head.out_channels == 1, avg_non_ignore=True)


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_of_opencd_trains_with_eoloss(name, opencd, tiny_data, tmp_path):
    channels, losses = CONFIGS[name]
    if name.startswith('tinycd/'):
        pytest.importorskip('torchvision', exc_type=(ImportError, RuntimeError))
    file = tmp_path / 'mine.py'
    file.write_text(three_lines(opencd / 'configs' / name))
    cfg = small(Config.fromfile(file), tiny_data, tmp_path / 'work')
    without_downloads(cfg.model)
    torch.manual_seed(0)
    runner = Runner.from_cfg(cfg)
    model = runner.model.train()
    head = model.decode_head
    assert type(model).__module__.startswith('opencd.')
    assert isinstance(head.loss_decode, EOLoss)
    assert head.out_channels == channels

    # Half way the value is that of cross entropy, but for weights by size and trim; the gradient is not.
    batch = random_pairs()
    publish_progress(50, 100)
    eo_loss, head.loss_decode = head.loss_decode, EOLoss(balance=0.0, trim=1.0)
    (value, names), gradient = total_loss(model, batch), {}
    assert len(names) == losses
    assert all(name.endswith('loss_eo') for name in names)
    head.loss_decode = plain_loss(head)
    plain, _ = total_loss(model, batch)
    assert value.item() == pytest.approx(plain.item(), rel=1e-5)
    for key, loss in (('eo', value), ('plain', plain)):
        gradient[key] = torch.autograd.grad(loss, list(model.backbone.parameters()), allow_unused=True)
    reached = [float(grad.abs().max()) for grad in gradient['eo'] if grad is not None]
    assert max(reached) > 0
    assert np.isfinite(reached).all()
    pairs = [pair for pair in zip(gradient['eo'], gradient['plain'], strict=True) if pair[0] is not None]
    assert not all(torch.allclose(*pair, rtol=1e-3, atol=1e-9) for pair in pairs)

    head.loss_decode = eo_loss
    before = [parameter.detach().clone() for parameter in model.backbone.parameters()]
    runner.train()
    (step,) = records(tmp_path / 'work').values()
    assert np.isfinite(step['loss'])
    assert sum(key.startswith('decode.') and key.endswith('loss_eo') for key in step) == losses
    assert step['eo_zeta'] == 1
    assert any((old != new).any() for old, new in zip(before, model.backbone.parameters(), strict=True))


def test_eoloss_beside_another_loss(opencd, tiny_data, tmp_path):
    """In a list of losses, EO-loss takes the place of cross entropy alone and Dice stays."""
    pair = "[dict(type='hsonet_mm.EOLoss'), dict(type='hsonet_mm.BinaryDiceLoss')]"
    base = opencd / 'configs' / 'changestar' / 'changestar_farseg_1x96_256x256_40k_levircd.py'
    file = tmp_path / 'mine.py'
    file.write_text(three_lines(base, f'model = dict(decode_head=dict(loss_decode={pair}))'))
    cfg = small(Config.fromfile(file), tiny_data, tmp_path / 'work')
    without_downloads(cfg.model)
    Runner.from_cfg(cfg).train()
    (step,) = records(tmp_path / 'work').values()
    assert {
        f'decode.{order}.loss_{kind}' for order in ('t1t2', 't2t1') for kind in ('eo', 'dice')
    } <= step.keys()
    assert np.isfinite(step['loss'])


def test_enough_configs_of_both_kinds():
    channels = [channels for channels, _ in CONFIGS.values()]
    assert channels.count(2) >= 6
    assert channels.count(1) >= 2


# Our neck and head in Open-CD's models -----------------------------------------------------------------

VFPN_NECK = {'_delete_': True, 'type': 'hsonet_mm.VFPN', 'in_channels': [64, 128, 256, 512]}
OUR_HEAD = {
    '_delete_': True,
    'type': 'hsonet_mm.FSAssociationHead',
    'in_channels': [256, 256, 256, 256, 512],
    'num_classes': 2,
    'norm_cfg': {'type': 'SyncBN'},
    'loss_decode': {'type': 'hsonet_mm.EOLoss'},
}
UPER_HEAD = {'in_channels': [512, 512, 512, 512]}
FCN_HEAD = {
    '_delete_': True,
    'type': 'mmseg.FCNHead',
    'in_channels': 256,
    'in_index': 0,
    'channels': 64,
    'num_classes': 2,
    'norm_cfg': {'type': 'SyncBN'},
    'loss_decode': {'type': 'mmseg.CrossEntropyLoss'},
}


def _snippet(pattern):
    """The block of docs/opencd.md that holds a pattern."""
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/opencd.md').read_text(), re.S)
    (found,) = (block for block in blocks if re.search(pattern, block))
    return found


@pytest.mark.parametrize(
    'changes',
    [
        {'neck': VFPN_NECK, 'decode_head': OUR_HEAD},
        {
            'neck': VFPN_NECK,
            'decode_head': {**OUR_HEAD, 'out_channels': 1, 'threshold': 0.5},
            'auxiliary_head': None,
        },
        {'neck': VFPN_NECK, 'decode_head': UPER_HEAD},
        {'neck': {**VFPN_NECK, 'scene_embedding': False}, 'decode_head': UPER_HEAD},
        {'neck': {**VFPN_NECK, 'policy': 'abs_diff'}, 'decode_head': FCN_HEAD, 'auxiliary_head': None},
        eval(f'dict({_snippet("policy=.abs_diff.")})'),  # the text of our own document
    ],
    ids=[
        'both',
        'both, one channel',
        'neck, UPerHead',
        'neck without scene, UPerHead',
        'neck, FCNHead',
        'as documented',
    ],
)
def test_our_parts_in_siam_upernet(changes, opencd):
    """Open-CD's detector with another neck and head; the auxiliary head reads the new pyramid."""
    from opencd.models import SiamEncoderDecoder
    from opencd.registry import MODELS

    cfg = Config.fromfile(opencd / 'configs' / '_base_' / 'models' / 'siam_upernet_r18.py')
    cfg.merge_from_dict({'model': changes})
    torch.manual_seed(0)
    model = MODELS.build(without_downloads(cfg.model)).train()
    assert type(model) is SiamEncoderDecoder
    assert isinstance(model.neck, VFPN)
    ours = changes['decode_head'].get('type') == OUR_HEAD['type']
    assert isinstance(model.decode_head, FSAssociationHead) is ours
    assert model.with_auxiliary_head is (changes.get('auxiliary_head', True) is not None)

    publish_progress(0, 100)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(4):
        loss, _ = total_loss(model, random_pairs(), heads=('decode.', 'aux.'))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < history[0]
    part_without_gradient = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None and not name.startswith('backbone.fc')
    ]
    unused = (
        'neck.fpn_convs.1',
        'neck.fpn_convs.2',
        'neck.fpn_convs.3',
    )  # FCNHead reads the finest level alone
    assert all(name.startswith(unused) for name in part_without_gradient)
    assert not part_without_gradient or changes['decode_head'] is FCN_HEAD

    model.eval()
    for test_cfg in ({'mode': 'whole'}, {'mode': 'slide', 'crop_size': (64, 64), 'stride': (32, 32)}):
        model.test_cfg = Config(test_cfg)
        with torch.no_grad():
            (sample,) = model.test_step({key: values[:1] for key, values in random_pairs(size=80).items()})
        assert sample.pred_sem_seg.data.shape == (1, 80, 80)
        assert set(sample.pred_sem_seg.data.unique().tolist()) <= {0, 1}


def test_vfpn_is_farsegs_neck(opencd):
    """In ChangeStar, VFPN takes the weights of FarSegFPN as they are, and nothing changes."""
    from opencd.registry import MODELS

    file = opencd / 'configs' / '_base_' / 'models' / 'changestar_farseg_1x96_r18.py'
    torch.manual_seed(0)
    theirs = MODELS.build(without_downloads(Config.fromfile(file).model))
    for layer in theirs.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2)
    cfg = without_downloads(Config.fromfile(file).model)
    cfg.neck.type = 'hsonet_mm.VFPN'
    ours = MODELS.build(cfg)
    assert isinstance(ours.neck, VFPN)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict(), strict=True)

    images = torch.randn(2, 6, 64, 96)
    with torch.no_grad():
        feats = [model.eval().extract_feat(images) for model in (ours, theirs)]
        logits = [model(images, mode='tensor') for model in (ours, theirs)]
    assert len(feats[0]) == 5
    for pairs in (zip(*feats, strict=True), zip(*logits, strict=True)):
        assert all(torch.equal(a, b) for a, b in pairs)
    assert logits[0][0].std() > 0


# One checkpoint, two runtimes --------------------------------------------------------------------------

RUNTIME = '''
"""Train and predict in one runtime: the real Open-CD, or without it."""

import json
import sys
from pathlib import Path

runtime, folder, jobs = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
if runtime != 'opencd':
    sys.modules['opencd'] = None  # from here on it cannot be imported

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner, load_checkpoint

import hsonet_mm.components

assert hsonet_mm.opencd.compat.OPENCD_AVAILABLE is (runtime == 'opencd')
MODES = dict(
    whole=dict(mode='whole'),
    slide=dict(mode='slide', crop_size=(64, 64), stride=(40, 48)),
)
for job in jobs:
    cfg = Config.fromfile(job['config'])
    name = cfg.experiment_name = cfg.visualizer.name = f"{job['do']}_{job['name']}_{runtime}_{job.get('of')}"
    cfg.work_dir = str(folder / name)
    if job['do'] == 'train':
        runner = Runner.from_cfg(cfg)
        host = type(runner.model.data_preprocessor).__module__
        assert host.startswith('opencd.' if runtime == 'opencd' else 'hsonet_mm.opencd.'), host
        runner.train()
        continue
    cfg.load_from = str(folder / f"train_{job['name']}_{job['of']}_None" / 'iter_2.pth')
    runner = Runner.from_cfg(cfg)
    load_checkpoint(runner.model, cfg.load_from, map_location='cpu', strict=True)
    runner.model.eval()
    results = {}
    for mode, test_cfg in MODES.items():
        runner.model.test_cfg = ConfigDict(test_cfg)
        for index, batch in enumerate(runner.test_dataloader):
            with torch.no_grad():
                probs = runner.model.test_step(batch)[0].seg_logits.data.cpu().numpy()  # sigmoid included
                runner.model.decode_head.threshold = float(np.median(probs))  # half of it changed
                mask = runner.model.test_step(batch)[0].pred_sem_seg.data.cpu().numpy()
            results[f'{mode}/{index}'], results[f'{mode}/{index}/changed'] = probs, mask
    np.savez(folder / f'{name}.npz', **results)
'''

SHIPPED = ('hsonet_levir', 'hsonet_lite_levir')


@pytest.fixture(scope='session')
def exchanged(tiny_data, tool_env, tmp_path_factory):
    """Both configs trained for two steps in both runtimes, and every checkpoint's probabilities in each."""
    folder = tmp_path_factory.mktemp('exchange')
    script = folder / 'runtime.py'
    script.write_text(RUNTIME)
    for name in SHIPPED:
        cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
        for split in ('train', 'val', 'test'):
            loader = cfg[f'{split}_dataloader']
            loader.update(num_workers=0, persistent_workers=False)
            loader.dataset.data_root = str(tiny_data)
        cfg.train_dataloader.batch_size = 2
        crop = 'hsonet_mm.MultiImgBalancedCrop'
        (step,) = (step for step in cfg.train_dataloader.dataset.pipeline if step.type == crop)
        step.crop_size = 64
        cfg.model.backbone.init_cfg = None
        # probabilities around 1/2, where differences show most, and far enough from it
        cfg.model.decode_head.init_cfg = dict(type='Normal', std=0.1, override=dict(name='conv_seg'))
        cfg.optim_wrapper.optimizer.lr = 0.003  # more makes half of the probabilities exactly 0 or 1
        cfg.param_scheduler = None
        cfg.train_cfg.update(max_iters=2, val_interval=10)
        cfg.default_hooks.checkpoint.update(interval=2, save_best=None)
        cfg.dump(folder / f'{name}.py')

    def run(interpreter, runtime, jobs):
        jobs = [{**job, 'config': str(folder / f'{job["name"]}.py')} for job in jobs]
        command = [interpreter, str(script), runtime, str(folder), json.dumps(jobs)]
        result = subprocess.run(
            command, cwd=folder, env=tool_env, capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 0, result.stderr

    train = [{'do': 'train', 'name': name} for name in SHIPPED]
    predict = [
        {'do': 'predict', 'name': name, 'of': of} for name in SHIPPED for of in ('opencd', 'standalone')
    ]
    run(sys.executable, 'standalone', train)
    run(sys.executable, 'opencd', train + predict)
    run(sys.executable, 'standalone', predict)
    if os.environ.get('HSONET_OTHER_PYTHON'):
        run(os.environ['HSONET_OTHER_PYTHON'], 'other', predict)

    def probabilities(name, of, runtime):
        with np.load(folder / f'predict_{name}_{runtime}_{of}.npz') as arrays:
            return dict(arrays)

    return folder, probabilities


@pytest.mark.parametrize('of', ['opencd', 'standalone'])
@pytest.mark.parametrize('name', SHIPPED)
@pytest.mark.parametrize('runtime', ['standalone', 'other'])
def test_one_checkpoint_gives_the_same_probabilities(name, of, runtime, exchanged):
    if runtime == 'other' and not os.environ.get('HSONET_OTHER_PYTHON'):
        pytest.skip('HSONET_OTHER_PYTHON names no second interpreter')
    _, probabilities = exchanged
    here, there = probabilities(name, of, 'opencd'), probabilities(name, of, runtime)
    assert here.keys() == there.keys()
    assert {key.split('/')[0] for key in here} == {'whole', 'slide'}
    for key, values in here.items():
        if key.endswith('changed'):
            assert np.mean(values != there[key]) < 1e-2
            assert 0.4 < values.mean() < 0.6
            continue
        assert values.shape in ((1, 80, 272), (1, 64, 96))
        assert 0 <= values.min() <= values.max() <= 1
        assert np.abs(values - there[key]).max() <= 1e-5
        assert np.ptp(values) > 0.1, 'the same everywhere: nothing is compared'
    assert any(np.abs(here[f'whole/{i}'] - here[f'slide/{i}']).max() > 1e-3 for i in range(2))


@pytest.mark.parametrize('name', SHIPPED)
def test_the_runtimes_write_the_same_checkpoint(name, exchanged):
    """Same keys and shapes, and batch norm statistics that the two steps have moved."""
    folder, _ = exchanged
    states = [
        torch.load(folder / f'train_{name}_{of}_None' / 'iter_2.pth', weights_only=True)['state_dict']
        for of in ('opencd', 'standalone')
    ]
    shapes = [{key: value.shape for key, value in state.items()} for state in states]
    assert shapes[0] == shapes[1]
    for state in states:
        means = torch.cat([value for key, value in state.items() if key.endswith('running_mean')])
        assert (means != 0).float().mean() > 0.9
