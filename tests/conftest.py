"""Shared fixtures: a tiny data set, a tiny HSONet, ways to run the command line, and Open-CD's configs."""

import ast
import gc
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import wraps
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from filelock import FileLock
from mmengine.config import Config
from mmengine.config import config as config_module
from mmengine.dataset import base_dataset
from mmengine.hooks import runtime_info_hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import runner
from mmengine.utils import ManagerMixin
from yapf.yapflib import yapf_api

import hsonet_mm.components  # noqa: F401
from hsonet_mm.cli import main
from hsonet_mm.inference import precision

ROOT = Path(__file__).parent.parent

# The shipped config with a network of 0.1 M parameters, small crops and everything in one process.
TINY = {
    'model.backbone': {
        '_delete_': True,
        'type': 'mmseg.ResNet',
        'depth': 18,
        'base_channels': 8,
        'stem_channels': 8,
        'norm_cfg': {'type': 'BN', 'requires_grad': True},
    },
    'model.detail.channels': [8, 8, 8],
    'model.neck.in_channels': [8, 16, 32, 64],
    'model.neck.out_channels': 16,
    'model.decode_head.in_channels': [8, 8, 8, 16, 16, 16, 16, 64],
    'model.decode_head.association_channels': 16,
    'model.decode_head.channels': 16,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'train_dataloader.dataset.pipeline': [
        {'type': 'hsonet_mm.MultiImgLoadImageFromFile'},
        {'type': 'hsonet_mm.MultiImgLoadAnnotations'},
        {'type': 'hsonet_mm.MultiImgBalancedCrop', 'crop_size': 64, 'changed_prob': 0.5},
        {'type': 'MultiImgPackSegInputs'},
    ],
    'param_scheduler': [{'type': 'ConstantLR', 'factor': 1.0, 'by_epoch': False}],
    'train_cfg': {'type': 'hsonet_mm.ResumableTrainLoop', 'max_iters': 4, 'val_interval': 2},
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.logger.interval': 1,
}


def make_pair(seed, height=64, width=64):
    """Two dates of textured ground with houses; one house appears, one vanishes. Label 0/255."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 140, (height // 8, width // 8, 3), dtype=np.uint8)
    t1 = cv2.resize(ground, (width, height), interpolation=cv2.INTER_CUBIC)
    t2 = cv2.convertScaleAbs(t1, alpha=1.1, beta=5)
    label = np.zeros((height, width), np.uint8)
    for half, images in enumerate([(t1,), (t2,), (t1, t2)]):
        side, top, shift = 4 * rng.integers((3, 0, 0), (5, height // 4 - 4, 2))  # on the decoder's grid
        left = half * (width // 3 // 4 * 4) + shift
        house = np.s_[top : top + side, left : left + side]
        for image in images:
            image[house] = 230
        if len(images) == 1:
            label[house] = 255
    return t1, t2, label


def write_split(folder, pairs):
    """Write pairs as {A,B,label}/<n>.png."""
    for name, images in zip(('A', 'B', 'label'), zip(*pairs, strict=True), strict=True):
        (folder / name).mkdir(parents=True)
        for index, image in enumerate(images):
            cv2.imwrite(str(folder / name / f'{index}.png'), image)


def pytest_collection_finish():
    """What was imported stays, so that no collection of garbage goes through it, and collections are few."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope='session', autouse=True)
def _hurried_runs():
    """Runs of MMEngine neither collect garbage for each data set nor ask git for a commit with each checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))
        for module in (runner, runtime_info_hook):
            patch.setattr(module, 'get_git_hash', lambda: 'commit')
        yield


@pytest.fixture(scope='module', autouse=True)
def _no_runs_of_other_files():
    """Runners refer to themselves, so that their models stay until garbage is collected: once a file."""
    yield
    gc.collect()


@pytest.fixture(scope='session', autouse=True)
def _plain_configs():
    """Configs are written as valid Python, but not laid out by yapf, which takes most of the time of a short run."""

    def check(text, **_):
        ast.parse(text)
        return f'{text}\n', False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', check)
        # MMEngine 0.10 has the function by its own name.
        patch.setattr(config_module, 'FormatCode', check, raising=False)
        yield


@pytest.fixture(scope='session', autouse=True)
def _untraced_export():
    """Coverage looks away while PyTorch exports, which takes twice as long under its tracer."""

    def untraced(function):
        @wraps(function)
        def run(*args, **kwargs):
            tracer = sys.gettrace()
            sys.settrace(None)
            try:
                return function(*args, **kwargs)
            finally:
                sys.settrace(tracer)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (torch.export, 'export'),
            (torch.export, 'load'),
            (torch.export, 'save'),
            (torch.onnx, 'export'),
        ):
            patch.setattr(module, name, untraced(getattr(module, name)))
        yield


@pytest.fixture(scope='session')
def repo():
    """The folder of the project."""
    return ROOT


@pytest.fixture(scope='session')
def write_random(write_config):
    """A function (folder, gain, changes) that writes a config and a checkpoint of random weights.

    The gain spreads the logits; the changes are of the tiny config.
    """

    def write(folder, gain=1, changes=None):
        config = write_config(folder / 'tiny.py', changes)
        cfg = Config.fromfile(config)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('opencd'):
            network = MODELS.build(cfg.model)
        network.decode_head.conv_seg.bias.data.zero_()
        network.decode_head.conv_seg.weight.data.mul_(gain)
        torch.save({'state_dict': network.state_dict()}, folder / 'tiny.pth')
        return config, folder / 'tiny.pth'

    return write


@pytest.fixture
def trained_network():
    """A function that gives a module what a training does: batch norms with statistics; in double precision."""

    def train(module):
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(layer.running_mean, -0.5, 0.5)
                torch.nn.init.uniform_(layer.running_var, 0.5, 2)
                torch.nn.init.uniform_(layer.weight, 0.5, 2)
                torch.nn.init.uniform_(layer.bias, -0.5, 0.5)
        return module.double().eval()

    return train


@pytest.fixture(scope='session')
def opencd_configs():
    """The configs of Open-CD: of the checkout in the variable OPENCD_ROOT, or above a package that can be imported."""
    root = os.environ.get('OPENCD_ROOT')
    if root:
        if not (Path(root) / 'configs').is_dir():
            pytest.fail(f'OPENCD_ROOT={root} has no configs/: set it to a checkout of Open-CD')
        return Path(root) / 'configs'
    spec = importlib.util.find_spec('opencd')
    configs = spec and spec.origin and Path(spec.origin).parents[1] / 'configs'
    if not configs or not configs.is_dir():
        pytest.skip('no checkout of Open-CD: set OPENCD_ROOT to one')
    return configs


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory):
    """A data set in LEVIR layout: 4 + 2 + 2 pairs; those of test are larger than one tile of 256."""
    root = tmp_path_factory.mktemp('data') / 'tiny'
    write_split(root / 'train', [make_pair(seed) for seed in range(4)])
    write_split(root / 'val', [make_pair(seed) for seed in (4, 5)])
    write_split(root / 'test', [make_pair(6, 80, 272), make_pair(7, 64, 96)])
    files = set(root.rglob('*'))
    yield root
    assert set(root.rglob('*')) == files, 'a test wrote into the data that all tests share: copy them'


@pytest.fixture(scope='session')
def write_config(tiny_data):
    """A function (path, changes) that writes the tiny config, changed by dotted keys, to a file."""

    def write(path, changes=None, base='hsonet_lite_levir.py'):
        config = Config.fromfile(ROOT / 'configs' / base)
        for options in (TINY, changes or {}):
            config.merge_from_dict(options)
        if config.model.detail is None:  # the host's detector does not know the word
            del config.model['detail']
        for split in ('train', 'val', 'test'):
            config[f'{split}_dataloader'].dataset.data_root = str(tiny_data)
        path.parent.mkdir(parents=True, exist_ok=True)
        config.dump(path)
        return path

    return write


def _forget_runs(cls=ManagerMixin):
    """MMEngine names what a run has by config and second, so that two runs of one second would share it."""
    if cls is not DefaultScope:
        cls._instance_dict.clear()
    for subclass in cls.__subclasses__():
        _forget_runs(subclass)


@pytest.fixture(autouse=True)
def _no_default_scope():
    """No test finds the default scope of MMEngine that an earlier test or fixture has set."""
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    """A detector computes in float32, whatever the processor has, unless a test asks for something else."""
    monkeypatch.setattr(precision, 'has_bf16', lambda: False)


@pytest.fixture(autouse=True)
def _as_many_threads():
    """A tool that sets PyTorch's threads in a test's process leaves them to no other: more than cores are slow."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='session')
def forget_runs():
    """A function to call before a run in this process."""
    return _forget_runs


@pytest.fixture
def hsonet(capsys):
    """A function that runs ``hsonet ARGUMENTS`` in this process: (exit code, stdout, stderr)."""

    def run(*args):
        _forget_runs()
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope='session')
def trained(write_config):
    """A function (folder, changes) that trains the tiny config with changes, and gives config and work dir."""

    def run(folder, changes):
        config = write_config(folder / 'tiny.py', changes)
        _forget_runs()
        assert main(['train', str(config), '--work-dir', str(folder / 'work')]) == 0
        return config, folder / 'work'

    return run


@pytest.fixture(scope='session')
def tiny_checkpoint(tmp_path_factory, write_config):
    """The tiny config, and its weights after two iterations, with a classifier so large that probabilities spread."""
    folder = tmp_path_factory.mktemp('trained')
    changes = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'model.decode_head.prior': 0.5}
    config = write_config(folder / 'tiny.py', changes)
    _forget_runs()
    assert main(['train', str(config), '--work-dir', str(folder), '--seed', '0']) == 0
    weights = torch.load(folder / 'iter_2.pth', weights_only=True)['state_dict']
    weights['decode_head.conv_seg.weight'] *= 100
    torch.save({'state_dict': weights}, folder / 'trained.pth')
    return config, folder / 'trained.pth'


@pytest.fixture(scope='session')
def tiny_onnx(request, tmp_path_factory, tiny_checkpoint):
    """The tiny model, exported once for all workers of the tests: they have the same weights."""
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    base = tmp_path_factory.getbasetemp()
    common = base.parent if hasattr(request.config, 'workerinput') else base
    exported = common / 'exported_tiny.onnx'
    with FileLock(f'{exported}.lock'):
        if not exported.exists():
            assert main(['export', *map(str, tiny_checkpoint), '-o', str(exported)]) == 0
    return Path(shutil.copy(exported, tmp_path_factory.mktemp('exported') / 'tiny.onnx'))


@pytest.fixture
def untraced(tiny_onnx, monkeypatch):
    """Exports of the tiny model trace nothing: they take the graph that is there, with metadata of their own."""
    from hsonet_mm.export import formats, pipeline

    content = tiny_onnx.read_bytes()
    monkeypatch.setattr(pipeline, 'trace', lambda *_: None)
    monkeypatch.setattr(
        pipeline, 'to_onnx', lambda _, metadata, *__: formats.with_metadata(content, metadata)
    )


@pytest.fixture(scope='session')
def tool_env():
    """The environment of commands: this checkout, one core."""
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    return {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}


@pytest.fixture(scope='session')
def run_tool(tool_env):
    """A function that runs ``python ARGUMENTS`` from the project's folder."""

    def run(*args):
        command = [sys.executable, *map(str, args)]
        return subprocess.run(command, cwd=ROOT, env=tool_env, capture_output=True, text=True, timeout=300)

    return run
