"""The host: what is missing is named, versions are compared, checkpoints cannot run code."""

import importlib
import os
import pickle
import re
import struct
import subprocess
import sys
import warnings
from types import SimpleNamespace
from zipfile import ZipFile

import mmengine
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner.checkpoint import load_checkpoint

from hsonet_mm.opencd import compat

FOUND = SimpleNamespace(origin='opencd/__init__.py')
BOTH_WAYS = r'pip install "hsonet_mm\[standalone\]".*Open-CD.*mmengine 0\.10'


@pytest.mark.parametrize('name', ['mmengine', 'mmcv', 'mmseg'])
def test_a_missing_package_is_told_in_one_sentence(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=BOTH_WAYS) as error:
        compat.prepare_host()
    assert name in str(error.value)
    assert '\n' not in str(error.value)
    assert error.value.__suppress_context__


def test_versions_that_do_not_fit_together(monkeypatch):
    def refuse(_):
        raise AssertionError('MMCV==9 is used but incompatible')

    monkeypatch.setattr(importlib, 'import_module', refuse)
    with pytest.raises(ImportError, match=BOTH_WAYS + r'.*are incompatible \(MMCV==9'):
        compat.prepare_host()


def test_import_without_mmengine(repo):
    code = "import sys; sys.modules['mmengine'] = None; import hsonet_mm.components"
    done = subprocess.run([sys.executable, '-c', code], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: hsonet_mm needs')
    assert 'standalone' in last
    assert 'Open-CD' in last


def test_a_version_that_was_not_tried_is_warned_about(monkeypatch):
    monkeypatch.setattr(mmengine, '__version__', '0.99.0')
    with pytest.warns(
        UserWarning, match=r'tested with mmengine >= 0\.10\.7, < 0\.11, and 0\.99\.0 is installed'
    ):
        compat.prepare_host()


def test_preparing_again_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        compat.prepare_host()


class TestInferencers:
    def test_transforms_are_found_whatever_their_scope(self):
        compat.let_inferencers_find_our_transforms()
        from mmseg.apis import MMSegInferencer

        index = MMSegInferencer._get_transform_idx
        pipeline = [{'type': 'hsonet_mm.MultiImgLoadImageFromFile'}, {'type': 'MultiImgPackSegInputs'}]
        names = ('MultiImgLoadImageFromFile', 'MultiImgPackSegInputs', 'LoadImageFromFile')
        assert [index(None, pipeline, name) for name in names] == [0, 1, -1]


class _Code:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class TestCheckpoints:
    def checkpoint(self, path):
        hub = MessageHub('test_compat')
        for value in (0.5, np.float32(0.25), np.float64(0.125)):
            hub.update_scalar('train/loss', value)
        hub.update_info('iter', 3)
        torch.save(
            {'state_dict': {'weight': torch.ones(2)}, 'message_hub': hub.state_dict(), 'meta': {'iter': 3}},
            path,
        )
        return path

    @pytest.mark.parametrize('weights_only', [True, None])
    def test_of_mmengine_with_its_log_loads(self, tmp_path, weights_only):
        content = torch.load(self.checkpoint(tmp_path / 'iter_3.pth'), weights_only=weights_only)
        buffer = content['message_hub']['log_scalars']['train/loss']
        assert isinstance(buffer, HistoryBuffer)
        assert buffer.mean() == pytest.approx(0.875 / 3)

    @pytest.mark.parametrize('core', [b'core', b'_core'])
    def test_written_under_either_numpy(self, tmp_path, core):
        self.checkpoint(tmp_path / 'here.pth')
        with ZipFile(tmp_path / 'here.pth') as here, ZipFile(tmp_path / 'there.pth', 'w') as there:
            for name in here.namelist():
                content = here.read(name)
                if name.endswith('data.pkl'):
                    content, renamed = re.subn(rb'(?<=cnumpy\.)_?core(?=\.multiarray\n)', core, content)
                    assert renamed
                there.writestr(name, content)
        content = torch.load(tmp_path / 'there.pth')
        assert content['message_hub']['log_scalars']['train/loss'].mean() == pytest.approx(0.875 / 3)

    def test_loads_through_mmengine_again_and_again(self, tmp_path):
        path = self.checkpoint(tmp_path / 'iter_3.pth')
        for _ in range(2):
            model = torch.nn.Module()
            model.weight = torch.nn.Parameter(torch.zeros(2))
            load_checkpoint(model, str(path), map_location='cpu')
            assert model.weight.tolist() == [1, 1]

    @pytest.mark.parametrize('dtype', ['int64', 'uint8', 'float16', 'float32', 'bool'])
    def test_arrays_load(self, tmp_path, dtype):
        array = np.ones(3, dtype)
        torch.save({'a': array}, tmp_path / 'a.pth')
        assert np.array_equal(torch.load(tmp_path / 'a.pth', weights_only=True)['a'], array)

    @pytest.mark.parametrize('arguments', [{}, {'weights_only': True}, {'weights_only': False}])
    def test_code_is_refused(self, tmp_path, arguments):
        torch.save({'state_dict': {}, 'x': _Code(tmp_path / 'executed')}, tmp_path / 'bad.pth')
        with pytest.raises(pickle.UnpicklingError, match='mkdir'):
            torch.load(tmp_path / 'bad.pth', **arguments)
        assert not (tmp_path / 'executed').exists()

    def test_code_is_refused_through_mmengine(self, tmp_path):
        torch.save({'state_dict': {}, 'x': _Code(tmp_path / 'executed')}, tmp_path / 'bad.pth')
        with pytest.raises(pickle.UnpicklingError, match='mkdir'):
            load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / 'bad.pth'), map_location='cpu')
        assert not (tmp_path / 'executed').exists()

    def test_a_user_who_knows_better_can_switch_it_off(self, tmp_path, monkeypatch):
        monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')
        compat.load_checkpoints_safely()
        assert os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] == '0'
        torch.save({'x': _Code(tmp_path / 'executed')}, tmp_path / 'own.pth')
        torch.load(tmp_path / 'own.pth', weights_only=False)
        assert (tmp_path / 'executed').exists()

    def test_the_opposite_switch_neither_breaks_loading_nor_makes_it_unsafe(self, tmp_path, monkeypatch):
        monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
        monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
        with pytest.warns(UserWarning, match='TORCH_FORCE_WEIGHTS_ONLY_LOAD=0 as well'):
            compat.load_checkpoints_safely()
        self.test_arrays_load(tmp_path, 'float32')
        self.test_code_is_refused(tmp_path, {'weights_only': False})

    @pytest.mark.parametrize('owner', [os.path.join, HistoryBuffer.mean, HistoryBuffer])
    def test_getattr_reaches_the_statistics_of_logs_only(self, tmp_path, owner):
        class Escape:
            def __reduce__(self):
                return getattr, (owner, '__init__')

        torch.save({'x': Escape()}, tmp_path / 'bad.pth')
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / 'bad.pth', weights_only=False)

    def test_log_buffers_cannot_be_bent_into_running_code(self, tmp_path):
        """A buffer whose statistics are a second buffer whose ``update`` is ``exec``, all by declared names."""
        marker = tmp_path / 'executed'

        def text(value):
            return b'X' + struct.pack('<I', len(value)) + value.encode()

        def attribute(owner, name):
            return b'cbuiltins\ngetattr\n' + owner + text(name) + b'\x86R'

        log = b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
        names = log + b')Rq\0' + attribute(attribute(log, 'mean'), '__builtins__') + b'b'
        inner = log + b')Rq\1}' + text('update') + attribute(b'h\0', 'exec') + b'sb'
        outer = log + b')Rq\2}' + text('_statistics_methods') + b'h\1s'
        outer += text('_set_default_statistics') + attribute(b'h\0', 'dict') + b'sb'
        call = b'h\2}' + text('statistics_methods') + text(f'open({str(marker)!r}, "w").close()') + b'sb.'
        torch.save({}, tmp_path / 'empty.pth')
        with ZipFile(tmp_path / 'empty.pth') as empty, ZipFile(tmp_path / 'bad.pth', 'w') as bad:
            for name in empty.namelist():
                code = b'\x80\2' + names + inner + outer + call
                bad.writestr(name, code if name.endswith('data.pkl') else empty.read(name))
        with pytest.raises(pickle.UnpicklingError, match='__builtins__'):
            torch.load(tmp_path / 'bad.pth')
        assert not marker.exists()


class TestOpenCD:
    def test_absent(self, monkeypatch):
        monkeypatch.setattr(importlib.util, 'find_spec', lambda *_: None)
        assert compat.import_opencd() is False

    def test_folder_of_that_name(self, monkeypatch, tmp_path, recwarn):
        (tmp_path / 'opencd').mkdir()
        monkeypatch.setattr(sys, 'path', [str(tmp_path)])
        monkeypatch.delitem(sys.modules, 'opencd', raising=False)
        importlib.invalidate_caches()
        assert importlib.util.find_spec('opencd') is not None
        assert compat.import_opencd() is False
        assert not recwarn.list

    @pytest.mark.parametrize('kind', [ImportError, AssertionError, RuntimeError])
    def test_broken_is_warned_about(self, monkeypatch, kind):
        def fail(name):
            raise kind(f'no {name}')

        monkeypatch.setattr(importlib.util, 'find_spec', lambda *_: FOUND)
        monkeypatch.setattr(importlib, 'import_module', fail)
        with pytest.warns(UserWarning, match=r'cannot be imported \(no opencd.registry\)'):
            assert compat.import_opencd() is False

    def test_present(self, monkeypatch):
        imported = []
        monkeypatch.setattr(importlib.util, 'find_spec', lambda *_: FOUND)
        monkeypatch.setattr(importlib, 'import_module', imported.append)
        monkeypatch.setattr(compat, 'let_inferencers_find_our_transforms', lambda: imported.append('cured'))
        assert compat.import_opencd() is True
        assert 'opencd.models' in imported
        assert imported[-1] == 'cured'

    def test_is_looked_up_on_first_use(self, monkeypatch):
        compat.OPENCD_AVAILABLE  # noqa: B018
        monkeypatch.delitem(vars(compat), 'OPENCD_AVAILABLE')
        monkeypatch.setattr(compat, 'import_opencd', lambda: 'looked up')
        assert compat.OPENCD_AVAILABLE == 'looked up'

    def test_unknown_attribute(self):
        with pytest.raises(AttributeError, match='no attribute'):
            compat.nothing  # noqa: B018


def test_worker_without_shared_memory_ends_the_command(write_config, tmp_path, tool_env):
    """The batch is lost in the thread that sends it; the training would wait for it for good.

    In a process of its own: PyTorch's error can break off an import, whose module stays half loaded.
    """
    code = """
import sys
import torch
from hsonet_mm.cli import main

def full(_):
    raise RuntimeError('unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)')

torch.UntypedStorage._share_fd_cpu_ = full
sys.exit(main(sys.argv[1:]))
"""
    config = write_config(tmp_path / 'c.py', {'train_dataloader.num_workers': 1})
    command = [sys.executable, '-c', code, 'train', config, '--work-dir', tmp_path / 'work']
    done = subprocess.run(command, env=tool_env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert '--shm-size' in done.stderr
    assert 'num_workers=0' in done.stderr
