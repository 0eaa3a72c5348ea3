"""The command ``hsonet scene``, with a detector in place of a trained one."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import difference
from helpers import fake_detector as fake

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
from affine import Affine
from made_up_scene import GRID, write, write_pair
from rasterio.enums import ColorInterp

from hsonet_mm import ChangeDetector
from hsonet_mm.commands import scene as command
from hsonet_mm.errors import UserError
from hsonet_mm.scenes.pipeline import detect_tiles

pytestmark = pytest.mark.any_host


@pytest.fixture
def pair(tmp_path):
    return write_pair(tmp_path)


class TestCommand:
    """The command line, with a detector in place of a trained one."""

    @pytest.fixture
    def scene(self, monkeypatch, tmp_path, capsys):
        """A function that runs ``hsonet scene ARGUMENTS``: exit code, or the sentence; stdout."""
        detector = fake()
        made = []

        def from_onnx(path, threshold=None, threads=None, reading=None, **_):
            assert reading is None  # the scene's options say it
            made.append(('onnx', path, threshold, threads))
            return detector

        def from_checkpoint(config, checkpoint, **kwargs):
            made.append((config, checkpoint, kwargs))
            return detector

        monkeypatch.setattr(ChangeDetector, 'from_onnx', staticmethod(from_onnx))
        monkeypatch.setattr(ChangeDetector, 'from_checkpoint', staticmethod(from_checkpoint))
        for name in ('model.onnx', 'config.py', 'model.pth'):
            (tmp_path / name).touch()
        monkeypatch.chdir(tmp_path)

        def run(*arguments):
            parser = argparse.ArgumentParser()
            command.add_arguments(parser)
            code = command.run(parser.parse_args([str(argument) for argument in arguments]))
            return code, capsys.readouterr()

        run.made, run.detector = made, detector
        return run

    def test_one_scene(self, scene, pair, tmp_path):
        options = (
            '--tile',
            128,
            '--overlap',
            64,
            '--threshold',
            0.5,
            '--threads',
            2,
            '--dates',
            '2019',
            '2023',
        )
        code, streams = scene('model.onnx', *pair, '-o', 'out/change.tif', *options)
        assert code == 0
        assert scene.made == [('onnx', Path('model.onnx'), 0.5, 2)]
        assert 'out/change.tif done in' in streams.out
        assert '0.00% of the pixels changed, 0 m2 in 0 polygons at threshold 0.5 (given)' in streams.out
        summary = json.loads((tmp_path / 'out' / 'change.json').read_text())
        assert summary['before']['name'] == '2019'
        code, streams = scene('model.onnx', *pair, '-o', 'out/change.tif', *options)
        assert 'is up to date' in streams.out

    def test_checkpoint_and_options(self, scene, tmp_path):
        for name in ('before.tif', 'after.tif'):
            write(tmp_path / name, np.full((3, 90, 90), 900, np.uint16))
        code, streams = scene(
            *('config.py', 'model.pth', 'before.tif', 'after.tif', '-o', 'change.tif', '--device', 'cpu'),
            *('--tta', '--stretch', '0,1000', '--bands', '3,2,1', '--polygons', 'geojson', '--float32'),
            *('--cfg-options', 'model.test_cfg.mode=whole'),
        )
        assert code == 0
        ((config, checkpoint, options),) = scene.made
        assert (config, checkpoint) == ('config.py', 'model.pth')
        assert options['cfg_options'] == {'model.test_cfg.mode': 'whole'}
        assert 'before.tif: values 0,1000 became 0 to 255' in streams.out
        summary = json.loads((tmp_path / 'change.json').read_text())
        assert summary['tta'] == ['flips', 'rotations', 'swap']
        assert summary['bands'] == {'before': [3, 2, 1], 'after': [3, 2, 1]}
        assert (tmp_path / 'change.geojson').exists()

    def test_warnings_come_first_and_pixels_without_data_are_told(self, scene, pair, monkeypatch, capsys):
        write(pair[1], np.full((3, 120, 300), 90, np.uint8), transform=GRID * Affine.scale(2))
        monkeypatch.setattr(
            'hsonet_mm.scenes.scene.detect_tiles',
            lambda *args: events.append(capsys.readouterr().err) or detect_tiles(*args),
        )
        events = []
        code, streams = scene('model.onnx', *pair, '-o', 'change.tif')
        assert code == 0
        assert events[0].startswith(
            f'warning: {pair[1]} has a ground resolution of 1 m, 2 times that of {pair[0]}'
        )
        assert ' at threshold 0.5 (given), 20.00% of all have no data\n' in streams.out
        assert streams.err == ''
        code, streams = scene('model.onnx', *pair, '-o', 'change.tif')
        assert streams.err.startswith('warning: ')  # of a result that is up to date, too
        (pair[0].parent / 'list.csv').write_text('before,after,output\nbefore.tif,after.tif,x.tif\n')
        code, streams = scene('model.onnx', '--list', pair[0].parent / 'list.csv')
        assert ' in 0 polygons, 20.00% of all have no data\n' in streams.out
        assert streams.err.count('warning: ') == 1

    def test_one_scene_on_a_gpu_of_several(self, scene, pair):
        assert scene('config.py', 'model.pth', *pair, '-o', 'change.tif', '--gpus', '3')[0] == 0
        assert scene.made[0][2]['device'] == 'cuda:3'

    def test_bands_of_each_date(self, scene, pair, tmp_path):
        """The same colours in another order, and a fourth band: nothing changed."""
        colours = np.array([200, 100, 30, 90], np.uint8)[:, None, None] * np.ones((1, 90, 90), np.uint8)
        write(pair[0], colours[:3])
        write(pair[1], colours[[2, 1, 0, 3]], photometric='MINISBLACK')
        with rasterio.open(pair[1], 'r+') as dataset:
            dataset.colorinterp = [ColorInterp.undefined] * 4
        seen = []
        scene.detector.probs = lambda t1, t2, **_: (
            seen.append((t1[0, 0, 0], t2[0, 0, 0])) or difference(t1, t2)
        )
        code, _ = scene('model.onnx', *pair, '-o', 'change.tif', '--bands', '1,2,3/3,2,1')
        assert code == 0
        assert [date.tolist() for date in seen[0]] == [[200, 100, 30]] * 2  # red, green, blue
        summary = json.loads((tmp_path / 'change.json').read_text())
        assert summary['bands'] == {'before': [1, 2, 3], 'after': [3, 2, 1]}

    def test_many_scenes_with_one_that_fails(self, scene, tmp_path):
        for folder_name in ('a', 'b'):
            (tmp_path / folder_name).mkdir()
            for name in ('x.tif', 'y.tif'):
                write(tmp_path / folder_name / name)
        (tmp_path / 'b' / 'y.tif').write_bytes(b'')
        code, streams = scene('model.onnx', 'a', 'b', '-o', 'out')
        assert code == 1
        assert '1 of 2 scenes done, 1 failed' in streams.out
        assert 'out/y.tif: failed: b/y.tif cannot be read as a raster' in streams.err
        assert (tmp_path / 'out' / 'x.tif').exists()
        (tmp_path / 'list.csv').write_text('before,after,output\na/x.tif,b/x.tif,x.tif\n')
        code, streams = scene('model.onnx', '--list', 'list.csv', '-o', 'out')
        assert code == 0
        assert '1 of 1 scenes done' in streams.out

    @pytest.mark.parametrize(
        ('arguments', 'sentence'),
        [
            (('model.onnx', 'a.tif', '-o', 'c.tif'), 'give the raster before and the raster after'),
            (
                ('model.onnx', 'a.tif', 'b.tif', 'c.tif', '-o', 'c.tif'),
                'give the raster before and the raster after',
            ),
            (('config.py', 'model.pth', '-o', 'c.tif'), 'give the raster before and the raster after'),
            (('model.onnx', 'a', 'b', '--list', 'l.csv'), 'give the model alone'),
            (('model.onnx', 'a.tif', 'b.tif'), 'no output'),
            (
                ('--resample', 'a.tif', 'b.tif', '-o', 'c.tif'),
                r"^invalid --resample 'a\.tif': expected a size in metres.*place it after the images$",
            ),
            (('model.onnx', 'a.tif', 'b.tif', '-o', 'c.tif'), r'a\.tif does not exist'),
            (('model.onnx', '.', 'b.tif', '-o', 'out'), 'two rasters or two folders'),
            (('model.onnx', '--list', 'none.csv'), 'cannot be read'),
            (('model.onnx', 'a.tif', 'b.tif', '-o', 'c.tif', '--batch', '0'), '^invalid --batch 0: expected'),
            *[
                (
                    ('model.onnx', 'a.tif', 'b.tif', '-o', 'c.tif', '--min-area', area),
                    f'^invalid --min-area {area}',
                )
                for area in ('-1', 'nan', 'inf')
            ],
            (('model.onnx', 'a.tif', 'b.tif', '-o', 'c.tif', '--bands', 'r,g,b'), 'invalid bands'),
            (('model.onnx', 'a.tif', 'b.tif', '-o', 'c.tif', '--bands', '1,2/3,4,5,6'), 'invalid bands'),
            (
                ('model.onnx', 'a.tif', 'b.tif', '-o', 'c.tif', '--bands', '1,2,3/1,2,3/1,2,3'),
                'invalid bands',
            ),
            (('model.onnx', 'a.tif', 'b.tif', '-o', 'c.tif', '--stretch', '1'), 'invalid stretch'),
            (('model.onnx', '.', '.', '-o', 'config.py'), r'config\.py is a file: name a folder'),
            (
                ('model.onnx', 'a.tif', 'b.tif', '-o', 'c.tif', '--workers', '2'),
                'single scene runs in one process',
            ),
            (
                ('model.onnx', 'a.tif', 'b.tif', '-o', 'c.tif', '--engine', 'ray'),
                'single scene runs in one process',
            ),
            (
                ('c.py', 'm.pth', 'a.tif', 'b.tif', '-o', 'c.tif', '--gpus', '0,1'),
                'single scene runs in one process',
            ),
        ],
    )
    def test_bad_arguments(self, scene, arguments, sentence):
        with pytest.raises(UserError, match=sentence):
            scene(*arguments)

    @pytest.mark.parametrize(
        ('options', 'sentence'),
        [
            (('--workers', '0'), '^invalid --workers 0: expected'),
            (('--engine', 'ray', '--gpus', '0'), 'requires --engine local'),
            (('--ray-address', 'x'), 'requires --engine ray'),
        ],
    )
    def test_bad_arguments_of_many(self, scene, pair, options, sentence):
        (pair[0].parent / 'list.csv').write_text('before,after,output\na,b,c.tif\n')
        with pytest.raises(UserError, match=sentence):
            scene('config.py', 'model.pth', '--list', pair[0].parent / 'list.csv', *options)

    @pytest.mark.parametrize('package', ['rasterio', 'shapely', 'pyogrio'])
    def test_missing_package(self, scene, pair, monkeypatch, package):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=rf'scenes need {package}: pip install "hsonet_mm\[geo\]"'):
            scene('model.onnx', *pair, '-o', 'c.tif')

    def test_missing_opencv(self, scene, pair, monkeypatch):
        """It is in no extra beside another OpenCV."""
        monkeypatch.setitem(sys.modules, 'cv2', None)
        with pytest.raises(UserError, match='scenes need cv2: pip install opencv-python-headless'):
            scene('model.onnx', *pair, '-o', 'c.tif')
