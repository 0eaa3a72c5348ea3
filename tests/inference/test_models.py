"""Exported models without PyTorch, and checkpoints that need it."""

import ast
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
from onnx_models import expected, image, write_onnx

from hsonet_mm import ChangeDetector
from hsonet_mm.errors import UserError
from hsonet_mm.inference import models

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


def test_checkpoint_without_pytorch(trained, monkeypatch):
    monkeypatch.setattr(models, 'find_spec', lambda _: None)
    with pytest.raises(UserError, match=r'tiny.pth needs PyTorch.*\[standalone\].*\.onnx'):
        ChangeDetector.from_checkpoint(*trained)


def test_without_pytorch_and_openmmlab(tmp_path, repo):
    """The package, the detector and ``hsonet predict`` work on exported models where nothing else is installed."""
    write_onnx(tmp_path / 'model.onnx')
    for name, seed in (('a.png', 1), ('b.png', 2)):
        cv2.imwrite(str(tmp_path / name), image(seed))
    code = """
        import sys
        for name in ('torch', 'mmengine', 'mmcv', 'mmseg', 'opencd'):
            sys.modules[name] = None
        import hsonet_mm
        from hsonet_mm.cli import main
        from hsonet_mm.errors import UserError

        detector = hsonet_mm.ChangeDetector.from_onnx('model.onnx')
        assert detector.predict('a.png', 'b.png').mask.any()
        try:
            hsonet_mm.ChangeDetector.from_checkpoint('tiny.py', 'tiny.pth')
        except UserError as error:
            print(error)
        assert main(['train', 'tiny.py']) == 2
        assert main(['predict', 'no.onnx', 'a.png', 'b.png', '--out', 'out']) == 2
        sys.exit(main(['predict', 'model.onnx', 'a.png', 'b.png', '--out', 'out']))
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        cwd=tmp_path,
        env={'PYTHONPATH': str(repo), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    missing, last = done.stdout.strip().splitlines()
    assert missing.startswith('the checkpoint tiny.pth needs PyTorch')
    train, absent, *_ = done.stderr.splitlines()  # then the progress
    assert train.startswith('error: hsonet train needs ')
    assert '[standalone]' in train
    assert absent.startswith('error: ')
    assert 'no.onnx' in absent
    assert "at threshold 0.25 (the model's own), see out" in last
    mask = cv2.imread(str(tmp_path / 'out/b_mask.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask > 0, expected(image(1), image(2)) > 0.25)


def test_no_torch_in_what_runs_exported_models(repo):
    for name in (
        'inference/batches.py',
        'inference/detector.py',
        'inference/models.py',
        'inference/opening.py',
        'inference/resolution.py',
        'inference/window_choice.py',
        'inference/onnx_model.py',
        'inference/calibration.py',
        'exported/metadata.py',
        'images/files.py',
        'images/pixels.py',
        'windows.py',
        'memory.py',
    ):
        tree = ast.parse((repo / 'hsonet_mm' / name).read_text())
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {alias.name for node in top for alias in node.names} | {
            getattr(node, 'module', '') for node in top
        }
        assert not any(one.startswith(('torch', 'mm')) for one in names), name
