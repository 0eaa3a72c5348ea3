"""Exported models in an environment without PyTorch; `make test-torchless` makes one and names its python."""

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')
pytest.importorskip('rasterio')

import rasterio
from rasterio.transform import from_origin

from hsonet_mm import ChangeDetector
from hsonet_mm.cli import main

BARE = os.environ.get('HSONET_TORCHLESS_PYTHON')
ABSENT = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmseg', 'onnx', 'onnxscript')

pytestmark = pytest.mark.skipif(
    not BARE, reason='HSONET_TORCHLESS_PYTHON names no python: make test-torchless'
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('torchless')


@pytest.fixture(scope='module')
def bare(folder):
    """A function that runs a program of the bare environment in the folder; it must succeed."""

    def run(program, *args):
        command = [Path(BARE).absolute().with_name(program), *map(str, args)]
        env = {'PATH': os.environ['PATH'], 'HOME': str(folder)}  # no PYTHONPATH that leads back here
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope='module')
def model(folder, tiny_checkpoint):
    """The detector in PyTorch, and ``model.onnx`` of it."""
    assert main(['export', *map(str, tiny_checkpoint), '-o', str(folder / 'model.onnx')]) == 0
    return ChangeDetector.from_checkpoint(*tiny_checkpoint, window='whole', precision='fp32')


@pytest.fixture(scope='module')
def pair(folder):
    """Two dates, as images and as scenes of one tile."""
    rng = np.random.default_rng(0)
    images = [cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (128, 96)) for _ in range(2)]
    for name, image in zip(('before', 'after'), images, strict=True):
        cv2.imwrite(str(folder / f'{name}.png'), image)
        (folder / name).mkdir()
        profile = {'crs': 'EPSG:32633', 'transform': from_origin(500_000, 5_000_000, 0.5, 0.5)}
        for path in (f'{name}.tif', f'{name}/one.tif', f'{name}/two.tif'):
            with rasterio.open(
                folder / path, 'w', driver='GTiff', count=3, height=96, width=128, dtype='uint8', **profile
            ) as raster:
                raster.write(image[..., ::-1].transpose(2, 0, 1))
    return images


def test_the_environment_is_bare(bare):
    code = f'import importlib.util as u; print([n for n in {ABSENT} if u.find_spec(n)])'
    assert bare('python', '-c', code).strip() == '[]'


def test_predict(folder, bare, model, pair):
    assert '1 pair predicted' in bare(
        'hsonet', 'predict', 'model.onnx', 'before.png', 'after.png', '--out', 'changes'
    )
    expected = model.predict(*pair, channel_order='bgr')
    probs = cv2.imread(str(folder / 'changes/after_prob.png'), cv2.IMREAD_UNCHANGED)
    assert probs.std() > 0
    np.testing.assert_allclose(probs / 255, expected.probs, atol=0.5 / 255 + 1e-4)
    mask = cv2.imread(str(folder / 'changes/after_mask.png'), cv2.IMREAD_UNCHANGED)
    sure = abs(expected.probs - expected.threshold) > 1e-4
    np.testing.assert_array_equal(mask[sure] > 0, expected.mask[sure])


def test_detector(bare, model, pair):
    code = (
        'from hsonet_mm import ChangeDetector\n'
        "prediction = ChangeDetector.from_onnx('model.onnx').predict('before.png', 'after.png')\n"
        'print(prediction.threshold, prediction.probs.mean())'
    )
    threshold, mean = map(float, bare('python', '-c', code).split())
    expected = model.predict(*pair, channel_order='bgr')
    assert threshold == expected.threshold
    assert mean == pytest.approx(expected.probs.mean(), abs=1e-4)


def test_scene(folder, bare, model, pair):
    one_tile = ('--tile', '128')
    bare(
        'hsonet', 'scene', 'model.onnx', 'before.tif', 'after.tif', '-o', 'change.tif', '--float32', *one_tile
    )
    with rasterio.open(folder / 'change.tif') as raster:
        np.testing.assert_allclose(raster.read(1), model.predict(*pair, channel_order='bgr').probs, atol=1e-4)
    summary = json.loads((folder / 'change.json').read_text())
    assert 'onnxruntime' in summary['versions']
    assert 'torch' not in summary['versions']
    assert (folder / 'change.gpkg').is_file()


@pytest.mark.usefixtures('model', 'pair')
def test_many_scenes_by_workers(folder, bare):
    stdout = bare('hsonet', 'scene', 'model.onnx', 'before', 'after', '-o', 'out', '--workers', '2')
    assert '2 of 2 scenes done' in stdout
    assert len(list((folder / 'out').glob('*_mask.tif'))) == 2


def test_training_says_what_to_install(folder):
    command = [Path(BARE).absolute().with_name('hsonet'), 'train', 'config.py']
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={'PATH': os.environ['PATH']}
    )
    assert done.returncode == 2
    assert '[standalone]' in done.stderr
