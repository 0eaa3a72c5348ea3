"""A training that several files look at, and what commands are refused for."""

import pathlib
import shutil
from importlib.util import find_spec

import pytest
from mmengine.config import Config

from hsonet_mm.engine.training import train


@pytest.fixture(scope='session')
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


@pytest.fixture
def data(tiny_data, tmp_path):
    """A copy of the tiny data set, to be damaged."""
    return pathlib.Path(shutil.copytree(tiny_data, tmp_path / 'data'))


@pytest.fixture
def config(write_config, tmp_path):
    """A function (changes) that writes the tiny config, for one iteration, and gives its path."""

    def write(changes=None):
        once = {
            'train_cfg.max_iters': 1,
            'train_cfg.val_interval': 100,
            'default_hooks.checkpoint.interval': 100,
        }
        return write_config(tmp_path / 'bad.py', {**once, **(changes or {})})

    return write


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory, write_config, forget_runs):
    """A checkpoint of the tiny network with all that a training saves."""
    folder = tmp_path_factory.mktemp('good')
    path = write_config(
        folder / 'good.py', {'train_cfg.max_iters': 1, 'default_hooks.checkpoint.interval': 1}
    )
    cfg = Config.fromfile(path)
    cfg.work_dir = str(folder)
    forget_runs()
    train(cfg)
    return folder / 'iter_1.pth'


@pytest.fixture
def refuse(hsonet, tmp_path):
    """A function that expects a command to be refused, and gives its one sentence."""

    def run(command, *args, naming=()):
        before = set(tmp_path.rglob('*'))
        place = ('--out', tmp_path / 'out') if command == 'predict' else ('--work-dir', tmp_path / 'work')
        code, _, stderr = hsonet(command, *args, *place)
        sentences = [line for line in stderr.splitlines() if line.startswith('error: ')]
        assert code == 2, stderr
        assert len(sentences) == 1, stderr
        assert 'Traceback' not in stderr
        for text in naming:
            assert str(text) in sentences[0]
        written = {path for path in set(tmp_path.rglob('*')) - before if path.is_file()}
        assert not [
            path
            for path in written
            if path.suffix in ('.pth', '.png', '.tmp') or path.name == 'last_checkpoint'
        ]
        assert {path.suffix for path in written} <= {'.log', '.py', '.json'}
        assert 'scores.json' not in {path.name for path in written}
        return sentences[0]

    return run
