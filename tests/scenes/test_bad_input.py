"""What can be wrong with a scene: one sentence, exit code 2, and nothing under the final name."""

import argparse
import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import difference
from helpers import fake_detector as fake

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_gcps, from_origin

from hsonet_mm import ChangeDetector
from hsonet_mm.commands import scene as command
from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene

pytestmark = pytest.mark.any_host

UTM = 'EPSG:32633'
GRID = from_origin(500_000, 5_000_000, 0.5, 0.5)
OPTIONS = SceneOptions(tile=128, overlap=64, min_area=0)


def write(path, image=None, **profile):
    """A raster that is in order but for what is asked for."""
    image = np.full((3, 300, 300), 90, np.uint8) if image is None else image
    profile = {'crs': UTM, 'transform': GRID, **profile}
    count, height, width = image.shape
    with rasterio.open(
        path, 'w', driver='GTiff', count=count, height=height, width=width, dtype=image.dtype, **profile
    ) as dataset:
        if count >= 3:
            colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
            dataset.colorinterp = colours + [ColorInterp.undefined] * (count - 3)
        dataset.write(image)
    return path


@pytest.fixture
def pair(tmp_path):
    (tmp_path / 'in').mkdir()
    return write(tmp_path / 'in' / 'before.tif'), write(tmp_path / 'in' / 'after.tif')


def missing(_, after):
    after.unlink()


def empty(_, after):
    after.write_bytes(b'')


def text(_, after):
    after.write_text('not a raster')


def folder(_, after):
    after.unlink()
    after.mkdir()


def truncated_header(_, after):
    after.write_bytes(after.read_bytes()[:60])


def truncated_pixels(_, after):
    noise = np.random.default_rng(0).integers(0, 255, (3, 300, 300), dtype=np.uint8)
    write(after, noise, compress='deflate', tiled=True, blockxsize=64, blockysize=64)
    with rasterio.open(after, 'r+') as dataset:  # the directory before the pixels, then the end cut off
        del dataset
    data = after.read_bytes()
    after.write_bytes(data[: len(data) * 2 // 3])


def damaged_pixels(_, after):
    noise = np.random.default_rng(0).integers(0, 255, (3, 300, 300), dtype=np.uint8)
    write(after, noise, compress='deflate', tiled=True, blockxsize=64, blockysize=64)
    data = bytearray(after.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    after.write_bytes(data)


def zero_bands(_, after):
    after.write_text('<VRTDataset rasterXSize="20" rasterYSize="20"></VRTDataset>')


def one_band(_, after):
    write(after, np.zeros((1, 300, 300), np.uint8))


def eight_bands(_, after):
    write(after, np.zeros((8, 300, 300), np.uint8), photometric='MINISBLACK')
    with rasterio.open(after, 'r+') as dataset:
        dataset.colorinterp = [ColorInterp.undefined] * 8


def palette(_, after):
    write(after, np.zeros((1, 300, 300), np.uint8), photometric='PALETTE')
    with rasterio.open(after, 'r+') as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})


def test_palette_is_expanded(tmp_path, pair):
    palette(*pair)
    result = detect_scene(fake(), *pair, tmp_path / 'change.tif', OPTIONS)
    assert result.summary['changed_pixels'] == 0  # black against 90


def floats_with_nan(_, after):
    write(after, np.full((3, 300, 300), np.nan, np.float32))


def other_type(_, after):
    write(after, np.full((3, 300, 300), 900, np.uint16))


def complex_values(_, after):
    write(after, np.zeros((3, 300, 300), np.complex64))


def no_crs(_, after):
    write(after, crs=None)


def no_position(_, after):
    write(after, transform=rasterio.Affine.identity())


def no_georeference(before, _):
    write(before, crs=None, transform=rasterio.Affine.identity())


def control_points_only(_, after):
    points = [rasterio.control.GroundControlPoint(y, x, x, y) for x, y in [(0, 0), (9, 0), (0, 9)]]
    assert from_gcps(points)
    write(after, crs=None, transform=rasterio.Affine.identity())
    with rasterio.open(after, 'r+') as dataset:
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(4326))


def nan_position(_, after):
    write(after, transform=rasterio.Affine(0.5, 0, np.nan, 0, -0.5, 5_000_000))


def no_pixel_size(_, after):
    write(after, transform=rasterio.Affine(0.5, 0.5, 500_000, 0.5, 0.5, 5_000_000))


def disjoint(_, after):
    write(after, transform=from_origin(600_000, 5_000_000, 0.5, 0.5))


def other_zone(_, after):
    write(after, crs='EPSG:32650')


def metres_as_degrees(_, after):
    write(after, crs='EPSG:4326')


def nowhere(_, after):
    write(after, crs='LOCAL_CS["site",UNIT["metre",1]]')


def only_nodata(_, after):
    write(after, np.zeros((3, 300, 300), np.uint8), nodata=0)


def only_nodata_16(before, after):
    for path in (before, after):
        write(path, np.zeros((3, 300, 300), np.uint16), nodata=0)


def nodata_halves(before, after):
    for half, path in enumerate((before, after)):
        image = np.full((3, 300, 300), 9, np.uint8)
        image[:, :, half * 150 : half * 150 + 150] = 0
        write(path, image, nodata=0)


BAD = [
    (missing, 'does not exist'),
    (empty, 'cannot be read as a raster'),
    (text, 'cannot be read as a raster'),
    (folder, 'is a folder'),
    (truncated_header, 'cannot be read'),
    (truncated_pixels, 'cannot be read'),
    (damaged_pixels, 'cannot be read at row'),
    (zero_bands, 'cannot be read as a raster|contains several rasters'),
    (one_band, 'has 3 bands and .* 1: name those of both dates with --bands'),
    (eight_bands, '8 bands of uint8 and does not declare'),
    (floats_with_nan, 'uint8 and .*float32 values: .*--stretch 2%,98%'),
    (complex_values, 'complex64 values'),
    (other_type, 'uint8 and .*uint16'),
    (no_crs, 'no coordinate reference system'),
    (no_position, 'no position and pixel size'),
    (no_georeference, r'before\.tif has no coordinate reference system'),
    (control_points_only, 'control points'),
    (nan_position, 'invalid position or pixel size|no position'),
    (no_pixel_size, 'invalid position or pixel size'),
    (disjoint, 'do not overlap'),
    (other_zone, 'do not overlap|cannot be transformed'),
    (metres_as_degrees, 'are not degrees'),
    (nowhere, 'cannot be transformed'),
    (only_nodata, 'no valid pixel in common'),
    (only_nodata_16, 'contains only nodata'),
    (nodata_halves, 'no valid pixel in common'),
]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(('spoil', 'sentence'), BAD, ids=[spoil.__name__ for spoil, _ in BAD])
def test_bad_rasters(tmp_path, pair, spoil, sentence):
    spoil(*pair)
    with pytest.raises(UserError, match=sentence) as caught:
        detect_scene(fake(), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
    assert '\n' not in str(caught.value)
    assert any(str(path) in str(caught.value) for path in pair)
    out = tmp_path / 'out'
    assert not out.exists() or not list(out.iterdir())  # no result, and nothing to go on with


@pytest.mark.parametrize(
    ('bands', 'sentence'),
    [
        ((1, 2), 'takes 3 bands per date, not 2'),
        ((1, 2, 4), r'has 3 bands of uint8, so --bands 1,2,4 cannot be .* give numbers'),
        ((1, 2, 3, 3), 'takes 3 bands per date, not 4'),
    ],
)
def test_bad_bands(tmp_path, pair, bands, sentence):
    options = SceneOptions(reading=Reading(bands))
    with pytest.raises(UserError, match=sentence):
        detect_scene(fake(), *pair, tmp_path / 'change.tif', options)


def test_bad_bands_of_one(tmp_path, pair):
    one_band(*pair)
    with pytest.raises(UserError, match=r'has 1 band of uint8, so --bands 1,2,3 cannot be .* give 1,1,1$'):
        detect_scene(fake(), *pair, tmp_path / 'change.tif', SceneOptions(reading=Reading((1, 2, 3))))


def test_other_number_of_bands(tmp_path, pair):
    image = np.zeros((4, 300, 300), np.uint8)
    write(pair[1], image, photometric='MINISBLACK')
    with rasterio.open(pair[1], 'r+') as dataset:
        dataset.colorinterp = [ColorInterp.undefined, ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    with pytest.raises(UserError, match=r'has 3 bands and .* 4: name those of both dates with --bands'):
        detect_scene(fake(), *pair, tmp_path / 'change.tif', OPTIONS)


def test_one_choice_of_bands_that_contradicts_one_file(tmp_path, pair):
    """The first date says that it is RGB; the second one, of four bands, says nothing."""
    bgrn = write(pair[1], np.zeros((4, 300, 300), np.uint8), photometric='MINISBLACK')
    with rasterio.open(bgrn, 'r+') as dataset:
        dataset.colorinterp = [ColorInterp.undefined] * 4
    sentence = r'before\.tif declares [123,]{5} as its red, green and blue bands, .* --bands, as 1,2,3/3,2,1$'
    with pytest.raises(UserError, match=sentence):
        detect_scene(fake(), *pair, tmp_path / 'change.tif', SceneOptions(reading=Reading((3, 2, 1))))


@pytest.mark.parametrize('change', ['removed', 'replaced'])
def test_file_that_changes_while_it_is_read(tmp_path, pair, change):
    def probs(t1, _, **__):
        if change == 'removed':
            pair[1].unlink(missing_ok=True)
        else:
            os.utime(pair[1], (1, 1))
        return np.zeros(t1.shape[:3], np.float32)

    with pytest.raises(UserError, match=r'after\.tif was changed or removed while it was read'):
        detect_scene(fake(probs), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
    assert {path.name for path in (tmp_path / 'out').iterdir()} <= {'.change.tif.part'}


@pytest.mark.parametrize('value', [np.nan, -0.1, 1.5])
def test_model_that_predicts_no_probabilities(tmp_path, pair, value):
    def probs(t1, _, **__):
        return np.full(t1.shape[:3], value, np.float32)

    with pytest.raises(UserError, match='the model predicts values that are not probabilities'):
        detect_scene(fake(probs), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
    assert list((tmp_path / 'out').iterdir()) == []


def test_polygons_in_degrees_of_what_is_nowhere(tmp_path):
    path = write(tmp_path / 'site.tif', crs='LOCAL_CS["site",UNIT["foot",0.3048]]')
    output = tmp_path / 'out' / 'change.tif'
    with pytest.raises(UserError, match=r'site\.tif has a local coordinate system, .* use --polygons gpkg'):
        detect_scene(fake(), path, path, output, SceneOptions(tile=128, overlap=64, polygons='geojson'))
    assert not output.parent.exists()
    assert detect_scene(fake(), path, path, output, OPTIONS).summary['valid_pixels'] == 90_000


class TestBadOutputs:
    @pytest.mark.parametrize('name', ['change.png', 'change'])
    def test_other_format(self, tmp_path, pair, name):
        with pytest.raises(UserError, match=r'ends in \.tif'):
            detect_scene(fake(), *pair, tmp_path / name, OPTIONS)

    def test_folder_of_that_name(self, tmp_path, pair):
        (tmp_path / 'change.gpkg').mkdir()
        with pytest.raises(UserError, match=r'change\.gpkg is a folder'):
            detect_scene(fake(), *pair, tmp_path / 'change.tif', OPTIONS)

    @pytest.mark.parametrize('other', ['c.tiff', 'c.TIF'])
    def test_another_suffix_of_an_earlier_result(self, tmp_path, pair, other):
        """Mask, polygons and summary would be replaced, and the probabilities stay."""
        detect_scene(fake(), *pair, tmp_path / 'c.tif', OPTIONS)
        before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        with pytest.raises(
            UserError, match=r'^c\.json is the summary of .*c\.tif: give another name with -o'
        ):
            detect_scene(fake(), *pair, tmp_path / other, OPTIONS)
        assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
        (tmp_path / 'c.tif').unlink()
        detect_scene(fake(), *pair, tmp_path / other, OPTIONS)

    def test_over_an_input(self, pair):
        with pytest.raises(UserError, match='would overwrite'):
            detect_scene(fake(), *pair, pair[1].parent / 'x' / '..' / 'after.tif', OPTIONS)

    def test_input_that_is_named_as_old_polygons_stays(self, tmp_path, pair):
        date = pair[1].rename(tmp_path / 'change.gpkg')
        before = date.read_bytes()
        detect_scene(fake(), pair[0], date, tmp_path / 'change.tif', SceneOptions(polygons='none'))
        assert date.read_bytes() == before

    def test_place_that_cannot_be_written(self, tmp_path, pair):
        (tmp_path / 'file').touch()
        with pytest.raises(UserError, match='cannot be written to'):
            detect_scene(fake(), *pair, tmp_path / 'file' / 'change.tif', OPTIONS)

    def test_read_only_folder(self, tmp_path, pair, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, 'Permission denied')

        monkeypatch.setattr('pathlib.Path.mkdir', refuse)
        with pytest.raises(UserError, match=r'cannot be written to \(Permission denied\)'):
            detect_scene(fake(), *pair, tmp_path / 'change.tif', OPTIONS)

    def test_files_that_may_not_be_so_large(self, tmp_path, pair):
        resource = pytest.importorskip('resource')
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            with pytest.raises(
                UserError, match=r'out cannot be written to \(File too large\): give another'
            ) as caught:
                detect_scene(fake(), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert caught  # the error is still there, as in a notebook, and locks nothing
        detect_scene(fake(), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)

    @pytest.mark.parametrize('when', ['cells', 'polygons', 'results'])
    def test_full_disk_and_going_on_after_it(self, tmp_path, pair, monkeypatch, when):
        """The sentence, nothing under the final name; with room on the disk the command goes on."""
        output = tmp_path / 'out' / 'change.tif'

        def full(*_, **__):
            raise OSError(errno.ENOSPC, 'No space left on device')

        place = {
            'cells': 'hsonet_mm.scenes.job._write',
            'polygons': 'hsonet_mm.scenes.vectors._write_gpkg',
            'results': 'hsonet_mm.scenes.outputs._vrt',
        }[when]
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            with pytest.raises(UserError, match=r'cannot be written \(No space left on device\): make room'):
                detect_scene(fake(), *pair, output, OPTIONS)
        assert [path.name for path in output.parent.iterdir()] == ['.change.tif.part']
        seen = []
        detector = fake()
        detector.probs = lambda a, b, **_: seen.append(len(a)) or difference(a, b)
        result = detect_scene(detector, *pair, output, OPTIONS)
        assert bool(seen) == (when == 'cells')
        assert sorted(output.parent.iterdir()) == sorted(result.files.values())

    def test_disk_that_is_full_for_gdal(self, tmp_path, pair):
        """A limit on the size of files stands for it."""
        resource = pytest.importorskip('resource')
        noise = np.random.default_rng(0).integers(0, 255, (3, 300, 300), dtype=np.uint8)
        write(pair[1], noise)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        original = __import__('hsonet_mm.scenes.scene', fromlist=['_']).write_geotiff

        def limited(*args):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
            try:
                return original(*args)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('hsonet_mm.scenes.scene.write_geotiff', limited)
            with pytest.raises(UserError, match='cannot be written'):
                detect_scene(fake(), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
        assert [path.name for path in (tmp_path / 'out').iterdir()] == ['.change.tif.part']


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


@pytest.mark.skipif(sys.platform != 'linux', reason='names are text on other systems')
@pytest.mark.parametrize('role', ['before', 'after', 'output'])
def test_names_in_another_encoding(tmp_path, pair, role):
    """GDAL takes UTF-8 alone; the files are intact, so nothing is called damaged."""
    foreign = tmp_path / os.fsdecode(b'caf\xe9.tif')
    places = {'before': pair[0], 'after': pair[1], 'output': tmp_path / 'out' / 'change.tif'}
    places[role] = foreign if role == 'output' else places[role].rename(foreign)
    with pytest.raises(UserError, match=r'caf\\udce9\.tif is not UTF-8: rename it'):
        detect_scene(fake(), *places.values(), OPTIONS)
    assert not (tmp_path / 'out').exists()
