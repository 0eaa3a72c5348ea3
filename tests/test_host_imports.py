"""What importing the package costs, and that its components are there whichever import comes first."""

import importlib
import importlib.machinery
import os
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hsonet_mm import host_imports

HEAVY = ('torch', 'mmengine', 'mmcv', 'mmseg', 'cv2', 'scipy', 'numpy', 'PIL', 'onnxruntime')
"""Packages of which the console command needs none to say what it can do."""
NEEDED_BY_EXPORTED_MODELS = ('numpy', 'cv2', 'PIL', 'onnxruntime')

QUIET, LOUD = 'import os; sys.stdout = open(os.devnull, "w")', 'sys.stdout = sys.__stdout__'

BUILD = """
from mmengine.registry import DefaultScope, MODELS
with DefaultScope.overwrite_default_scope('opencd'):
    kinds = [dict(type='hsonet_mm.DetailBranch', channels=[8, 8, 8]), dict(type='FeatureFusionNeck', policy='sum')]
    print(*(type(MODELS.build(kind)).__name__ for kind in kinds))
"""

ROOT = Path(__file__).parents[1]


def run_python(code, *args, **options):
    command = [sys.executable, '-c', code, *map(str, args)]
    env = {**os.environ, **options.pop('env', {})}
    env['PYTHONPATH'] = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.any_host
@pytest.mark.parametrize('module', ['hsonet_mm.datasets', 'hsonet_mm.commands.explain'])
def test_imports_print_nothing(module):
    """The OneDL forks print twice that an optional package is missing, whichever module comes first."""
    pytest.importorskip('mmseg')
    assert run_python(f'import hsonet_mm; import {module}') == ''


def loaded_after(code, *args):
    """Which of the heavy packages a program has loaded."""
    return run_python(f'import sys\n{code}\nprint(*[n for n in {HEAVY} if n in sys.modules])', *args).split()


def seconds_of(code, *args):
    """Processor time of a program, start of Python included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_python(code, *args, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def console(*args):
    """A program that does what the console command does."""
    return f'from hsonet_mm.cli import main\ntry:\n    main({list(map(str, args))})\nexcept SystemExit: pass'


@pytest.fixture
def predict(tiny_onnx, tmp_path):
    """The program that predicts a pair with an exported model."""
    rng = np.random.default_rng(0)
    for name in ('before', 'after'):
        cv2.imwrite(str(tmp_path / f'{name}.png'), rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return console('predict', tiny_onnx, tmp_path / 'before.png', tmp_path / 'after.png', '-o', tmp_path)


class TestCost:
    def test_importing_the_package(self):
        assert loaded_after('import hsonet_mm') == []

    @pytest.mark.parametrize('option', ['--help', '--version'])
    def test_console_command(self, option):
        assert 'hsonet' in run_python(console(option))
        assert loaded_after(f'{QUIET}\n{console(option)}\n{LOUD}') == []
        assert seconds_of(console(option)) < 0.3

    def test_an_exported_model(self, predict, tmp_path):
        loaded = loaded_after(f'{QUIET}\n{predict}\n{LOUD}')
        assert set(loaded) == set(NEEDED_BY_EXPORTED_MODELS)
        assert (tmp_path / 'after_mask.png').is_file()
        assert seconds_of(predict) < 1  # 0.4 s where nothing else runs


class TestComponents:
    """Whatever is imported first, a config finds what it names."""

    @pytest.mark.parametrize(
        'imports',
        [
            'import hsonet_mm, mmseg.models',
            'from hsonet_mm.models.backbones import DetailBranch',
            'from hsonet_mm.opencd.detectors import SiamEncoderDecoder',
        ],
    )
    def test_are_found(self, imports):
        assert run_python(imports + BUILD).split()[-2:] == ['DetailBranch', 'FeatureFusionNeck']

    @pytest.mark.parametrize('first', ['import hsonet_mm', 'import mmengine'])
    def test_through_the_custom_imports_of_a_config(self, tmp_path, first):
        (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['hsonet_mm'])\n")
        code = f"{first}\nfrom mmengine.config import Config\nConfig.fromfile('config.py'){BUILD}"
        assert run_python(code, cwd=tmp_path).split()[-2:] == ['DetailBranch', 'FeatureFusionNeck']

    def test_mmengine_keeps_its_own_loader(self):
        code = (
            'import hsonet_mm, mmengine\nprint(type(mmengine.__spec__.loader) is type(mmengine.__loader__))'
        )
        code += '\nprint(type(mmengine.__loader__).__module__)'
        same, module = run_python(code).split()
        assert same == 'True'
        assert module != 'hsonet_mm.host_imports'

    def test_mmengine_that_is_not_there(self):
        code = (
            "import sys\nimport hsonet_mm\nsys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        )
        code += 'try:\n    import mmengine\nexcept ModuleNotFoundError as error:\n    print(error.name)'
        assert run_python(code).strip() == 'mmengine'


class TestCompiledOps:
    def stand_in(self):
        finder = host_imports.CompiledOpsFinder()
        spec = finder.find_spec('mmcv._ext', None)
        return importlib.util.module_from_spec(spec)

    def test_stand_in_names_the_operator_when_called(self):
        module = self.stand_in()
        assert module.__spec__.name == 'mmcv._ext'
        with pytest.raises(
            NotImplementedError, match=r'operator nms is not part of mmcv-lite: install the full mmcv'
        ):
            module.nms(1, iou=2)
        with pytest.raises(AttributeError):
            module.__wrapped__  # noqa: B018

    def test_nothing_else_is_found(self):
        assert host_imports.CompiledOpsFinder().find_spec('mmcv._other', None) is None

    def test_real_operators_are_left_alone(self, tmp_path):
        (tmp_path / 'mmcv').mkdir()
        (tmp_path / 'mmcv/__init__.py').touch()
        (tmp_path / 'mmcv/_ext.py').write_text('nms = "real"\n')
        code = (
            f'import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport hsonet_mm\nimport mmcv._ext as ext\n'
        )
        assert run_python(code + 'print(ext.nms)').strip() == 'real'

    def test_mmcv_ops_can_be_imported(self):
        assert callable(importlib.import_module('mmcv.ops').nms)


class TestTorchvision:
    """A torchvision as it is installed: a package with a compiled library, which declares operators as it is loaded."""

    PACKAGE = """
import torch
from pathlib import Path
try:
    torch.ops.load_library(str(Path(__file__).with_name('_C.so')))
except OSError:
    pass
torch.library.register_fake('torchvision::nms')(lambda dets, scores, iou_threshold: scores)
torch.library.register_fake('torchvision::qnms')(lambda dets, scores, iou_threshold: scores)
"""

    def run(self, folder, code):
        package = folder / 'torchvision'
        package.mkdir()
        (package / '__init__.py').write_text(self.PACKAGE)
        (package / '_C.so').write_bytes(b'built for another PyTorch')
        code = f'import sys; sys.path.insert(0, {str(folder)!r}); {code}'
        return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)

    def test_a_library_that_does_not_load_is_no_obstacle(self, tmp_path):
        done = self.run(tmp_path, 'import hsonet_mm; import torchvision; print(torchvision.__file__)')
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(tmp_path / 'torchvision/__init__.py')

    def test_alone_it_would_stop(self, tmp_path):
        done = self.run(tmp_path, 'import torchvision')
        assert 'operator torchvision::nms does not exist' in done.stderr

    def test_a_loaded_one_is_left_alone(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise AssertionError('an operator is declared')

        (tmp_path / '_C.so').write_bytes(b'built for another PyTorch')
        monkeypatch.setattr(torch.library, 'define', refuse)
        monkeypatch.setattr(torch.ops.torchvision, 'nms', object(), raising=False)
        spec = importlib.machinery.ModuleSpec('torchvision', None, origin=str(tmp_path / '__init__.py'))
        host_imports.declare_operators_of_torchvision(spec)
