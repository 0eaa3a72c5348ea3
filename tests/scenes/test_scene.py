"""Scenes: rasters of any size to georeferenced change maps."""

import contextlib
import csv
import filecmp
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers import fake_detector

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio.shutil
import shapely
import torch
from pyogrio.raw import read as read_vectors
from rasterio.enums import ColorInterp
from rasterio.env import get_gdal_config
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform as transform_points
from scipy import ndimage

from hsonet_mm.errors import UserError
from hsonet_mm.geo import rasters
from hsonet_mm.geo.areas import PixelAreas
from hsonet_mm.geo.environment import limited_cache
from hsonet_mm.geo.headers import read_info
from hsonet_mm.geo.rasters import ScenePair
from hsonet_mm.images.options import Reading, Stretch, apply_stretch, parse_stretch
from hsonet_mm.inference.tta import augmented_probs
from hsonet_mm.scenes import job as job_module
from hsonet_mm.scenes import listing, many, pipeline, worker
from hsonet_mm.scenes import scene as scene_module
from hsonet_mm.scenes.polygons import Polygoniser
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene, result_files
from hsonet_mm.windows import Window, default_window

pytestmark = pytest.mark.any_host

UTM = 'EPSG:32633'
GRID = from_origin(500_000, 5_000_000, 0.5, 0.5)

FAKE = '''
import os
import time

import numpy as np

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.scenes.model import ModelSpec
from hsonet_mm.windows import default_window


class FakeDetector:
    """Difference of the dates; knows nothing but the pixel."""

    threshold, threshold_source, name, versions = 0.5, 'given', 'fake', {'fake': '1'}
    reading = Reading()
    window = default_window(None, None)
    ground_resolution = None
    calls = 0

    def probs(self, t1, t2, channel_order):
        assert channel_order == 'rgb'
        FakeDetector.calls += 1
        time.sleep(float(os.environ.get('FAKE_SLEEP', 0)))
        assert t1.dtype == t2.dtype == np.uint8
        assert t1.shape == t2.shape and t1.shape[3] == 3
        assert t1.flags.c_contiguous
        return np.abs(t1.astype(np.float32) - t2).mean(3) / 255


class FakeSpec(ModelSpec):
    def load(self):
        if 'broken' in self.files[0]:
            raise UserError('the model is broken: take another')
        return FakeDetector()
'''


@pytest.fixture(scope='session')
def fake_module(tmp_path_factory):
    """Folder with the module of the fake detector, importable here and in processes."""
    folder = tmp_path_factory.mktemp('fake')
    (folder / 'fake_scene_detector.py').write_text(FAKE)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def fake(fake_module):
    assert fake_module.is_dir()
    import fake_scene_detector

    fake_scene_detector.FakeDetector.calls = 0
    return fake_scene_detector.FakeDetector()


def write_raster(path, image, crs=UTM, transform=GRID, **profile):
    """Write (bands, H, W); returns the path."""
    count, height, width = image.shape
    profile = {'driver': 'GTiff', 'photometric': 'RGB', 'crs': crs, 'transform': transform, **profile}
    alpha = profile.pop('with_alpha', False)
    mask = profile.pop('with_mask', None)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, 'w', count=count, height=height, width=width, dtype=image.dtype, **profile
        ) as dataset,
    ):
        if alpha:
            dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        dataset.write(image)
        if mask is not None:
            dataset.write_mask(mask)
    return path


def ground(height, width, seed=0):
    """Smooth coloured ground, (3, H, W) between 60 and 160."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 160, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1).copy()


def make_pair(folder, height=300, width=420, boxes=((40, 50, 30, 20),), **profile):
    """Two dates that differ in boxes (row, column, height, width), there 0 and 255; returns their paths."""
    t1 = ground(height, width)
    t2 = t1.copy()
    for row, column, rows, columns in boxes:
        t1[:, row : row + rows, column : column + columns] = 0
        t2[:, row : row + rows, column : column + columns] = 255
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        write_raster(folder / f'{name}.tif', image, **profile)
        for name, image in (('before', t1), ('after', t2))
    )


SMALL = SceneOptions(tile=128, overlap=64, batch=3, min_area=0)


def read_all(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1), dataset.profile, dataset.tags()


def probs_of(path):
    """Probabilities with NaN for nodata."""
    values, profile, _ = read_all(path)
    if profile['dtype'] == 'float32':
        return values
    return np.where(values == 255, np.nan, values / 250)


class TestStretch:
    def test_values(self):
        values = np.array([[0, 500, 1000, 3000, 65535]], np.uint16)
        assert apply_stretch(values, parse_stretch('500,1500')).tolist() == [[0, 0, 128, 255, 255]]

    def test_percentiles(self):
        stretch = parse_stretch('2%, 98%').resolve(np.arange(1001))
        assert stretch == Stretch(20, 980)
        assert str(stretch) == '20,980'
        assert Stretch(2, 98, True).resolve(np.full(9, 7)) == Stretch(7, 8)

    @pytest.mark.parametrize('text', ['', '5', '3,1', '2%,98', '-1%,50%', '2%,101%', 'a,b', '1,2,3'])
    def test_bad(self, text):
        with pytest.raises(UserError, match='invalid stretch'):
            parse_stretch(text)


class TestSeams:
    """Tiled predictions against those of the whole image at once."""

    @pytest.mark.parametrize(
        ('height', 'width'), [(300, 420), (128, 128), (129, 200), (90, 70), (5, 400), (1, 1)]
    )
    def test_local_detector(self, tmp_path, fake, height, width):
        before, after = make_pair(tmp_path, height, width, boxes=[(height // 3, width // 3, 9, 9)])
        with rasterio.open(after, 'r+') as dataset:
            noise = np.random.default_rng(1).integers(0, 255, (3, height, width), dtype=np.uint8)
            dataset.write(noise)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', replaced(float32=True))
        with rasterio.open(before) as a, rasterio.open(after) as b:
            whole = np.abs(a.read().astype(np.float32) - b.read()).mean(0) / 255
        probs = probs_of(result.files['probs'])
        np.testing.assert_allclose(probs, whole, atol=1e-6)
        mask = read_all(result.files['mask'])[0]
        assert np.array_equal(mask == 1, probs > 0.5)

    @pytest.mark.parametrize('overlap', [64, 32])
    def test_convolutional_detector(self, tmp_path, overlap):
        """Receptive field of 23 pixels: 64 pixels of overlap leave 16 at the edge of a tile unused."""
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(6, 8, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 8, 3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 8, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False),
            torch.nn.Conv2d(8, 1, 3, padding=1),
        )
        for layer in net:
            if hasattr(layer, 'weight'):
                torch.nn.init.normal_(layer.weight, std=0.3)

        @torch.inference_mode()
        def probs(t1, t2, **_):
            images = torch.from_numpy(np.concatenate([t1, t2], 3)).permute(0, 3, 1, 2).float() / 64 - 2
            return torch.sigmoid(net(images)[:, 0]).numpy()

        detector = fake_detector(probs, window=default_window(None, None))
        before, after = make_pair(tmp_path, 320, 416, boxes=[(30, 40, 60, 50), (200, 250, 40, 90)])
        options = replaced(overlap=overlap, float32=True)
        result = detect_scene(detector, before, after, tmp_path / 'change.tif', options)
        images = [cv2.imread(str(path))[None, ..., ::-1] for path in (before, after)]
        whole = probs(*images)[0]
        assert whole.std() > 0.05  # there is something to see
        error = np.abs(probs_of(result.files['probs']) - whole)
        assert error.max() < 1e-3
        if overlap == 64:
            assert error.max() < 1e-5

    def test_blends_tiles_that_differ(self, tmp_path):
        """Tiles of quite other values: what is between neighbouring pixels stays small."""
        calls = iter(range(100))

        def probs(t1, _, **__):
            return np.stack([np.full(t1.shape[1:3], next(calls) % 2, np.float32) for _ in t1])

        detector = fake_detector(probs, window=default_window(None, None))
        before, after = make_pair(tmp_path, 128, 420)
        options = replaced(float32=True)
        result = detect_scene(detector, before, after, tmp_path / 'change.tif', options)
        values = probs_of(result.files['probs'])
        assert values.min() == 0
        assert values.max() == 1
        assert np.abs(np.diff(values, axis=1)).max() < 0.055  # a cosine over 32 pixels, pi / 2 / 32 at most


def replaced(**changes):
    return SceneOptions(**{**SMALL.__dict__, **changes})


class TestOutputs:
    def test_files_and_summary(self, tmp_path, fake):
        before, after = make_pair(tmp_path, 700, 900, boxes=[(100, 120, 40, 60), (600, 20, 30, 30)])
        output = tmp_path / 'out' / 'change.tif'
        options = replaced(dates=('2019', '2023'))
        result = detect_scene(fake, before, after, output, options)
        assert result.fresh
        assert sorted(path.name for path in output.parent.iterdir()) == [
            'change.gpkg',
            'change.json',
            'change.tif',
            'change_mask.tif',
        ]
        changed = np.zeros((700, 900), bool)
        changed[100:140, 120:180] = changed[600:630, 20:50] = True
        for kind in ('probs', 'mask'):
            with rasterio.open(result.files[kind]) as dataset:
                assert dataset.transform == GRID
                assert dataset.crs == UTM
                assert dataset.nodata == 255
                assert dataset.dtypes == ('uint8',)
                assert dataset.profile['tiled']
                assert dataset.block_shapes == [(512, 512)]
                assert dataset.compression.value == 'DEFLATE'
                assert dataset.overviews(1) == [2]
                assert dataset.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
                assert dataset.tags()['MODEL'] == 'fake'
                assert dataset.tags()['AFTER'] == '2023'
                if kind == 'probs':
                    assert dataset.scales == (0.004,)
                    assert np.array_equal(dataset.read(1), changed * np.uint8(250))
                else:
                    assert np.array_equal(dataset.read(1), changed)
        summary = json.loads(result.files['summary'].read_text())
        assert summary == result.summary
        assert summary['changed_pixels'] == changed.sum()
        assert summary['valid_pixels'] == changed.size
        assert summary['changed_share'] == changed.mean()
        assert summary['changed_area_m2'] == pytest.approx(changed.sum() / 4, rel=0.01)
        assert summary['model'] == 'fake'
        assert summary['threshold_source'] == 'given'
        assert summary['versions']['fake'] == '1'
        assert summary['stretch'] == ['none', 'none']
        assert summary['polygons'] == 2

    def test_second_run_takes_what_is_there(self, tmp_path, fake):
        before, after = make_pair(tmp_path)
        first = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        calls = fake.calls
        again = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        assert not again.fresh
        assert again.summary == first.summary
        assert fake.calls == calls
        first.files['mask'].unlink()
        assert detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL).fresh
        assert detect_scene(fake, before, after, tmp_path / 'change.tif', replaced(min_area=5)).fresh
        os.utime(after, (1, 1))
        assert detect_scene(fake, before, after, tmp_path / 'change.tif', replaced(min_area=5)).fresh

    def test_sources_of_a_vrt_are_inputs_too(self, tmp_path, fake):
        before, after = make_pair(tmp_path)
        vrt = tmp_path / 'after.vrt'
        rasterio.shutil.copy(after, vrt, driver='VRT')
        assert detect_scene(fake, before, vrt, tmp_path / 'change.tif', SMALL).fresh
        (tmp_path / 'after.vrt.aux.xml').write_text('<PAMDataset/>')  # QGIS leaves one
        assert not detect_scene(fake, before, vrt, tmp_path / 'change.tif', SMALL).fresh
        os.utime(after, (1, 1))
        assert detect_scene(fake, before, vrt, tmp_path / 'change.tif', SMALL).fresh

    def test_nothing_changed(self, tmp_path, fake):
        before, _ = make_pair(tmp_path)
        for polygons in ('gpkg', 'geojson', 'none'):
            options = replaced(polygons=polygons)
            result = detect_scene(fake, before, before, tmp_path / 'change.tif', options)
            assert result.summary['polygons'] == result.summary['changed_pixels'] == 0
            assert ('polygons' in result.files) == (polygons != 'none')
            if polygons == 'gpkg':
                assert len(read_vectors(result.files['polygons'])[2]) == 0
            elif polygons == 'geojson':
                assert json.loads(result.files['polygons'].read_text())['features'] == []

    @pytest.mark.parametrize('polygons', ['geojson', 'none'])
    def test_nothing_stays_of_an_earlier_result(self, tmp_path, fake, polygons):
        """Other polygons, and the statistics that GDAL keeps beside a raster; but what is no result does."""
        before, after = make_pair(tmp_path / 'in')
        output = tmp_path / 'out' / 'change.tif'
        own = output.with_suffix('.geojson' if polygons == 'none' else '.csv')
        own.parent.mkdir()
        own.write_text('of the user')
        first = detect_scene(fake, before, after, output, SMALL)
        for kind in ('probs', 'mask'):
            first.files[kind].with_name(f'{first.files[kind].name}.aux.xml').touch()
        result = detect_scene(fake, before, after, output, replaced(polygons=polygons))
        assert sorted(output.parent.iterdir()) == sorted([own, *result.files.values()])

    def test_gdal_keeps_128_mib_decoded_unless_told_otherwise(self, tool_env, monkeypatch):
        monkeypatch.delenv('GDAL_CACHEMAX', raising=False)
        with limited_cache():
            assert get_gdal_config('GDAL_CACHEMAX') == 128 * 2**20
        code = (
            'from rasterio.env import get_gdal_config\n'
            'from hsonet_mm.geo.environment import limited_cache\n'
            "with limited_cache(): print(get_gdal_config('GDAL_CACHEMAX'))"
        )
        env = {**tool_env, 'GDAL_CACHEMAX': '300MB'}
        done = subprocess.run([sys.executable, '-c', code], env=env, check=True, stdout=subprocess.PIPE)
        assert int(done.stdout) == 300 * 2**20

    def test_result_files(self, tmp_path):
        files = result_files(tmp_path / 'a.b.tif', 'geojson')
        assert [path.name for path in files.values()] == [
            'a.b.tif',
            'a.b_mask.tif',
            'a.b.geojson',
            'a.b.json',
        ]


class TestInputs:
    @pytest.mark.parametrize('kind', ['value', 'mask', 'alpha'])
    @pytest.mark.parametrize('date', ['before', 'after'])
    @pytest.mark.parametrize('shifted', [False, True])
    @pytest.mark.parametrize('dtype', ['uint8', 'int16'])
    def test_nodata_of_either_date(self, tmp_path, fake, kind, date, shifted, dtype):
        paths, images = dict(zip(('before', 'after'), make_pair(tmp_path), strict=True)), {}
        for name, path in paths.items():
            with rasterio.open(path) as dataset:
                images[name] = dataset.read().astype(dtype)
            write_raster(path, images[name])
        image = images[date]
        valid = np.ones(image.shape[1:], bool)
        valid[200:, :150] = False
        image[:, valid] = image[:, valid].clip(1)
        image[:, ~valid] = 0
        profile = {'nodata': 0} if kind == 'value' else {}
        if kind == 'mask':
            profile = {'with_mask': valid.astype(np.uint8) * 255}
        if kind == 'alpha':
            image, profile = (
                np.concatenate([image, valid[None] * image.dtype.type(255)]),
                {'with_alpha': True},
            )
        transform = GRID
        if shifted and date == 'after':  # two pixels more on all sides, so that it goes through resampling
            image = np.pad(image, ((0, 0), (2, 2), (2, 2)), 'edge')
            transform = GRID * Affine.translation(-2, -2)
            if kind == 'mask':
                profile = {'with_mask': np.pad(profile['with_mask'], 2, 'edge')}
        write_raster(paths[date], image, transform=transform, **profile)
        options = replaced(reading=Reading(stretch=Stretch(0, 255)))
        result = detect_scene(fake, paths['before'], paths['after'], tmp_path / 'change.tif', options)
        probs = probs_of(result.files['probs'])
        assert np.array_equal(np.isfinite(probs), valid)
        assert np.array_equal(read_all(result.files['mask'])[0] == 255, ~valid)
        expected = np.zeros(valid.shape)
        expected[40:70, 50:70] = 1
        np.testing.assert_allclose(probs[valid], expected[valid], atol=0.005)
        assert result.summary['valid_pixels'] == valid.sum()

    def test_tiles_of_nodata_cost_nothing(self, tmp_path, fake):
        t1 = np.zeros((3, 128, 1024), np.uint8)
        t1[:, :, 900:] = 200
        t2 = t1.copy()
        t2[:, 20:60, 950:1000] = 1
        before, after = (
            write_raster(tmp_path / f'{name}.tif', image, nodata=0) for name, image in (('a', t1), ('b', t2))
        )
        seen = []
        original, fake.probs = fake.probs, lambda a, b, **order: seen.extend(a) or original(a, b, **order)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        assert len(seen) == 2  # those that reach the last 124 columns
        assert result.summary['valid_pixels'] == 128 * 124
        assert result.summary['changed_pixels'] == 40 * 50

    def test_second_date_on_another_grid(self, tmp_path, fake):
        """A change at known coordinates lands there from other CRS, resolution and offset."""
        box = (500_060.0, 4_999_900.0, 500_090.0, 4_999_930.0)  # left, bottom, right, top
        t1 = np.full((3, 400, 400), 100, np.uint8)
        before = write_raster(tmp_path / 'before.tif', t1)
        grids = {
            'resolution': (UTM, from_origin(499_990.3, 5_000_010.2, 0.3, 0.3), 800, 800),
            'geographic': ('EPSG:4326', from_origin(14.9995, 45.1540, 4e-6, 3e-6), 1100, 1400),
            'zone': ('EPSG:32634', None, 900, 900),
        }
        inside = np.zeros((400, 400), bool)
        inside[140:200, 120:180] = True
        for name, (crs, transform, height, width) in grids.items():
            if transform is None:
                (x,), (y,) = transform_points(UTM, crs, [499_960.0], [5_000_040.0])
                transform = from_origin(x - 60, y + 60, 0.5, 0.5)
            rows, columns = np.indices((height, width))
            xs, ys = transform.c + transform.a * (columns + 0.5), transform.f + transform.e * (rows + 0.5)
            xs, ys = (np.reshape(v, xs.shape) for v in transform_points(crs, UTM, xs.ravel(), ys.ravel()))
            house = (xs > box[0]) & (xs < box[2]) & (ys > box[1]) & (ys < box[3])
            assert house.sum() > 1000
            image = np.full((3, height, width), 100, np.uint8)
            image[:, house] = 255
            after = write_raster(tmp_path / f'{name}.tif', image, crs=crs, transform=transform)
            fake.threshold = 0.3
            result = detect_scene(fake, before, after, tmp_path / f'change_{name}.tif', SMALL)
            assert result.summary['after']['resampled']
            mask = read_all(result.files['mask'])[0]
            valid = mask != 255
            assert valid.mean() > 0.5
            assert valid[100:240, 80:220].all()
            wrong = np.count_nonzero((mask == 1) != (inside & valid))
            assert wrong <= 4 * 60 * 0.6, (name, wrong)  # within about half a pixel all around
            with rasterio.open(result.files['probs']) as dataset:
                assert dataset.transform == GRID

    @pytest.mark.parametrize(
        ('crs', 'angle', 'finer'),
        [(UTM, 30, 1), ('EPSG:32634', 0, 1), ('EPSG:3035', 0, 1), (UTM, 0, 4), (UTM, 30, 4)],
    )
    def test_turned_grids_are_as_sharp_and_finer_ones_are_averaged(self, tmp_path, crs, angle, finer):
        """Noise as second date, against the mean under a triangle of two pixels of the first one, but two of its own
        at least, which is bilinear interpolation."""
        turned = Affine.translation(500_000, 5_000_000) * Affine.rotation(angle) * Affine.scale(finer, -finer)
        (x,), (y,) = transform_points(UTM, crs, [500_050.0], [4_999_950.0])
        transform = from_origin(x - 200, y + 200, 1, 1)
        noise = np.random.default_rng(0).integers(0, 255, (400, 400), dtype=np.uint8)
        before = write_raster(tmp_path / 'a.tif', np.zeros((3, 40, 40), np.uint8), transform=turned)
        after = write_raster(tmp_path / 'b.tif', np.stack([noise] * 3), crs, transform)
        pair = ScenePair(read_info(before), read_info(after))
        image = pair.read((0, 40), (0, 40))[1][..., 0]
        pair.close()
        xs, ys = turned * (np.indices((40, 40)).reshape(2, -1)[::-1] + 0.5)
        columns, rows = ~transform * np.array(transform_points(UTM, crs, xs, ys))
        triangle = 1 - np.abs(np.arange(1 - finer, finer)) / finer
        smooth = noise.astype(float)
        for axis in (0, 1):
            smooth = ndimage.convolve1d(smooth, triangle / triangle.sum(), axis)
        expected = ndimage.map_coordinates(smooth, [rows - 0.5, columns - 0.5], order=1).reshape(40, 40)
        assert expected.std() > 10
        assert np.abs(image - expected).max() < 1.5

    @pytest.mark.parametrize(('left', 'split'), [(179.9, 100), (-180.1, 100), (-180, 0), (179.8, 200)])
    def test_dates_on_both_sides_of_180_degrees(self, tmp_path, left, split):
        """The second date, in metres, is bright in the east; longitudes of the first one go on beyond 180."""
        transform = from_origin(left, -17, 0.001, 0.001)
        before = write_raster(tmp_path / 'a.tif', np.zeros((3, 50, 200), np.uint8), 'EPSG:4326', transform)
        (x,), (y,) = transform_points('EPSG:4326', 'EPSG:32760', [180.0], [-17.025])
        place = from_origin(x - 40_000, y + 10_000, 100, 100)
        rows, columns = np.indices((200, 800)).reshape(2, -1) + 0.5
        longitudes = np.array(transform_points('EPSG:32760', 'EPSG:4326', *(place * (columns, rows)))[0])
        bright = np.where(longitudes < 0, 200, 50).astype(np.uint8).reshape(200, 800)
        after = write_raster(tmp_path / 'b.tif', np.stack([bright] * 3), 'EPSG:32760', place)
        pair = ScenePair(read_info(before), read_info(after))
        _, image, valid = pair.read((0, 50), (0, 200))
        pair.close()
        assert valid.all()
        expected = np.where(np.arange(200) < split, 50, 200)
        wrong = np.abs(image[..., 0] - expected).max(0) > 1
        assert (np.abs(np.flatnonzero(wrong) - split) < 3).all()

    @pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16'])
    def test_partial_overlap(self, tmp_path, fake, dtype):
        before = write_raster(tmp_path / 'before.tif', np.full((3, 200, 200), 9, dtype))
        moved = GRID * Affine.translation(150, 120)
        after = write_raster(tmp_path / 'after.tif', np.full((3, 200, 200), 9, dtype), transform=moved)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        valid = np.zeros((200, 200), bool)
        valid[120:, 150:] = True
        assert np.array_equal(np.isfinite(probs_of(result.files['probs'])), valid)

    def test_transparent_pixels_of_signed_values_are_in_no_percentile(self, tmp_path):
        image = np.full((4, 100, 100), 500, np.int16)
        image[:3, :50], image[3, :50] = -9000, 0
        path = write_raster(tmp_path / 'a.tif', image, with_alpha=True)
        pair = ScenePair(read_info(path), read_info(path))
        assert pair.stretches[0].low == 500

    def test_second_date_around_the_globe(self, tmp_path, fake):
        """Its corners are nowhere in the system of the first one."""
        before, _ = make_pair(tmp_path, boxes=(), transform=from_origin(400_000, 5_000_000, 100, 100))
        globe = from_origin(-180, 90, 0.5, 0.5)
        after = write_raster(
            tmp_path / 'globe.tif', np.full((3, 360, 720), 110, np.uint8), 'EPSG:4326', globe
        )
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        assert result.summary['valid_pixels'] == 300 * 420

    def test_sixteen_bits(self, tmp_path, fake):
        t1 = ground(200, 200).astype(np.uint16) * 10
        t2 = t1 + 500  # another exposure
        t1[:, 50:70, 60:80] = 0
        t2[:, 50:70, 60:80] = 60_000
        before, after = (
            write_raster(tmp_path / f'{name}.tif', image) for name, image in (('a', t1), ('b', t2))
        )
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        assert result.summary['changed_pixels'] == 400
        low, high = map(float, result.summary['stretch'][0].split(','))
        assert (low, high) == tuple(np.percentile(t1, [2, 98]))
        options = replaced(reading=Reading.make(stretch='0,60000'), float32=True)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', options)
        assert result.summary['stretch'] == ['0,60000', '0,60000']
        probs = probs_of(result.files['probs'])
        assert probs[60, 70] == 1
        assert probs[0, 0] == pytest.approx(500 / 60000, abs=1 / 255)

    def test_bands(self, tmp_path, fake):
        seen = []
        fake.probs = lambda a, _, **__: seen.append(a[0, 0, 0].tolist()) or np.zeros(a.shape[:3], np.float32)
        image = np.arange(1, 6, dtype=np.uint8)[:, None, None] * np.ones((5, 40, 40), np.uint8)
        path = write_raster(tmp_path / 'five.tif', image, photometric='MINISBLACK')
        with pytest.raises(UserError, match='name them, as --bands'):
            read_info(path)
        detect_scene(fake, path, path, tmp_path / 'change.tif', replaced(reading=Reading((5, 3, 1))))
        rgb = write_raster(tmp_path / 'rgb.tif', image[:3])
        detect_scene(fake, rgb, rgb, tmp_path / 'rgb_change.tif', SMALL)
        bgr = tmp_path / 'bgr.tif'
        write_raster(bgr, image[:3], photometric='MINISBLACK')
        with rasterio.open(bgr, 'r+') as dataset:
            dataset.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
        detect_scene(fake, bgr, bgr, tmp_path / 'bgr_change.tif', SMALL)
        assert seen == [[5, 3, 1], [1, 2, 3], [3, 2, 1]]  # red, green, blue

    def test_rotated_grid(self, tmp_path, fake):
        rotated = Affine.translation(500_000, 5_000_000) * Affine.rotation(20) * Affine.scale(0.5, -0.5)
        before, after = make_pair(tmp_path, transform=rotated)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        with rasterio.open(result.files['mask']) as dataset:
            assert dataset.transform.almost_equals(rotated)
        assert result.summary['changed_area_m2'] == pytest.approx(30 * 20 / 4, rel=0.01)
        (polygon,) = shapely.from_wkb(read_vectors(result.files['polygons'])[2])
        assert polygon.area == pytest.approx(150, rel=1e-6)


def zone(latitude):
    """Square metres of the ellipsoid from the equator to a latitude in degrees."""
    a, e = 6_378_137, 0.0818191908426
    s = np.sin(np.radians(latitude))
    return np.pi * a**2 * (1 - e**2) * (s / (1 - (e * s) ** 2) + np.arctanh(e * s) / e)


class TestPolygons:
    @pytest.mark.parametrize('crs', ['EPSG:32633', 'EPSG:3857', 'EPSG:4326'])
    @pytest.mark.parametrize('polygons', ['gpkg', 'geojson'])
    def test_area(self, tmp_path, fake, crs, polygons):
        """60 x 40 pixels of known size on the ground at 48 degrees north, to 1 %."""
        east, north = (
            111_320 * np.cos(np.radians(48)) * 1.00185,
            111_190.0,
        )  # metres a degree on the ellipsoid
        (x,), (y,) = transform_points('EPSG:4326', crs, [15.1], [48.0])
        pixel = {'EPSG:32633': 0.5, 'EPSG:3857': 0.5 / np.cos(np.radians(48)), 'EPSG:4326': 0.5 / 111_190}
        transform = from_origin(x, y, pixel[crs], pixel[crs])
        before, after = make_pair(tmp_path, boxes=[(40, 50, 60, 40)], crs=crs, transform=transform)
        options = replaced(polygons=polygons)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', options)
        expected = 60 * 40 * (0.25 if crs != 'EPSG:4326' else pixel[crs] ** 2 * east * north)
        assert result.summary['changed_area_m2'] == pytest.approx(expected, rel=0.01)
        if polygons == 'gpkg':
            meta, _, shapes, fields = read_vectors(result.files['polygons'])
            values = dict(zip(meta['fields'], [field[0] for field in fields], strict=True))
            assert meta['crs'] == crs
            (shape,) = shapely.from_wkb(shapes)
            assert shape.bounds == pytest.approx(
                (x + 50 * pixel[crs], y - 100 * pixel[crs], x + 90 * pixel[crs], y - 40 * pixel[crs])
            )
        else:
            (feature,) = json.loads(result.files['polygons'].read_text())['features']
            values = feature['properties']
            shape = shapely.geometry.shape(feature['geometry'])
            assert shape.exterior.is_ccw
            (left,), (top,) = transform_points(crs, 'EPSG:4326', [x + 50 * pixel[crs]], [y - 40 * pixel[crs]])
            assert shape.bounds[0] == pytest.approx(left, abs=1e-6)
            assert shape.bounds[3] == pytest.approx(top, abs=1e-6)
            assert shape.area * east * north == pytest.approx(expected, rel=0.01)
        assert values['area_m2'] == pytest.approx(expected, rel=0.01)
        assert values['mean_prob'] == 1
        assert (values['before'], values['after']) == ('before', 'after')

    @pytest.mark.parametrize(
        'crs', ['EPSG:31467', '+proj=tmerc +lon_0=9 +x_0=3500000 +ellps=bessel +towgs84=577,90,463,5,1,5,2']
    )
    def test_polygons_lie_where_the_mask_does(self, tmp_path, fake, crs):
        """The second system is much like the first one, so that PROJ finds it a code, but lies elsewhere."""
        transform = from_origin(3_500_000, 5_300_000, 0.5, 0.5)
        before, after = make_pair(tmp_path, crs=rasterio.CRS.from_string(crs), transform=transform)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        meta, _, _, _ = read_vectors(result.files['polygons'])
        with rasterio.open(result.files['mask']) as dataset:
            places = [
                transform_points(one, 'EPSG:4326', [3_500_000.0], [5_300_000.0])
                for one in (dataset.crs, rasterio.CRS.from_string(meta['crs']))
            ]
        np.testing.assert_allclose(*places, atol=1e-7)

    def test_geojson_is_cut_at_180_degrees(self, tmp_path, fake):
        (x,), (y,) = transform_points('EPSG:4326', 'EPSG:32760', [180.0], [-17.0])
        transform = from_origin(x - 35, y, 0.5, 0.5)
        before, after = make_pair(tmp_path, crs='EPSG:32760', transform=transform)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', replaced(polygons='geojson'))
        (feature,) = json.loads(result.files['polygons'].read_text())['features']
        shape = shapely.geometry.shape(feature['geometry'])
        west, east = sorted(shape.geoms, key=lambda part: -part.bounds[0])
        assert (west.bounds[2], east.bounds[0]) == (180, -180)
        assert west.exterior.is_ccw
        assert east.exterior.is_ccw
        metres = 111_320 * np.cos(np.radians(17)) * 110_600 * 1.0003
        assert shape.area * metres == pytest.approx(feature['properties']['area_m2'], rel=0.01)

    @pytest.mark.parametrize('strip', [60, 60 * 7, 60 * 1000])
    def test_strips_give_the_same_regions(self, monkeypatch, strip):
        """Regions across strips, with holes, branches and corners that touch, against those of the whole."""
        rng = np.random.default_rng(3)
        mask = (cv2.GaussianBlur(rng.random((50, 60)), (0, 0), 1.2) > 0.5).astype(np.uint8)
        mask[10:40, 20] = mask[10, 20:40] = mask[10:40, 40] = 1
        mask[30, 3:9] = 255
        probs = rng.random((50, 60)).astype(np.float32)
        monkeypatch.setattr('hsonet_mm.scenes.polygons.STRIP_PIXELS', strip)
        regions = Polygoniser(
            lambda first, last: (mask[first:last], probs[first:last]),
            60,
            50,
            Affine.translation(7, 9) * Affine.scale(2, -2),
            lambda rows, _: np.full(len(rows), 4.0),
            min_area=12,
        )
        found = list(regions)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (mask == 1).astype(np.uint8), connectivity=4
        )
        large = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] * 4 >= 12]
        assert 5 < len(large) < count - 1
        assert (regions.given, regions.small) == (len(large), count - 1 - len(large))
        assert regions.valid == 50 * 60 - 6
        assert regions.changed == (mask == 1).sum()
        assert regions.changed_area == 4 * regions.changed
        expected = {
            (4.0 * (labels == label).sum(), round(float(probs[labels == label].mean()), 5)) for label in large
        }
        assert {(polygon.area, round(polygon.prob, 5)) for polygon in found} == expected
        for polygon in found:
            assert polygon.geometry.is_valid
            assert polygon.geometry.area == polygon.area
            place = shapely.get_coordinates(polygon.geometry.representative_point())[0]
            row, column = int((9 - place[1]) // 2), int((place[0] - 7) // 2)
            assert mask[row, column] == 1
        assert shapely.union_all([polygon.geometry for polygon in found]).area == sum(p.area for p in found)

    def test_small_ones_are_left_out(self, tmp_path, fake):
        boxes = [(10, 10, 6, 6), (100, 100, 20, 20), (200, 200, 20, 20)]
        before, after = make_pair(tmp_path, boxes=boxes)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', replaced(min_area=20))
        assert result.summary['polygons'] == 2
        assert result.summary['polygons_left_out'] == 1
        assert result.summary['changed_pixels'] == 36 + 800  # the mask keeps it
        assert len(read_vectors(result.files['polygons'])[2]) == 2

    def test_local_system(self):
        crs = rasterio.crs.CRS.from_wkt('LOCAL_CS["site",UNIT["foot",0.3048]]')
        areas = PixelAreas(crs, from_origin(0, 0, 2, 2), 10, 10)
        assert areas(np.array([3.0]), np.array([10.0])) == pytest.approx((2 * 0.3048) ** 2)

    @pytest.mark.parametrize(('top', 'height'), [(90, 26), (90.5, 26), (-64.5, 26), (90, 180)])
    def test_areas_up_to_a_pole(self, top, height):
        """Rows of one degree around the globe, the first or last half beyond a pole, against the zone they cover."""
        areas = PixelAreas(rasterio.crs.CRS.from_epsg(4326), from_origin(-180, top, 1, 1), 360, height)
        rows, columns = np.indices((height, 360)).reshape(2, -1) + 0.5
        expected = zone(min(top, 90)) - zone(max(top - height, -90))
        assert areas(rows, columns).sum() == pytest.approx(expected, rel=0.002)

    def test_areas_vary_over_a_large_scene(self):
        areas = PixelAreas(rasterio.crs.CRS.from_epsg(4326), from_origin(10, 60, 0.01, 0.01), 1000, 1000)
        at = areas(np.array([0.5, 999.5]), np.array([500.0, 500.0]))
        assert at[0] / at[1] == pytest.approx(np.cos(np.radians(60)) / np.cos(np.radians(50)), rel=0.01)


RUN = """
import sys
import fake_scene_detector
from hsonet_mm.scenes import job
from hsonet_mm.scenes.scene import SceneOptions, detect_scene

job.CHECKPOINT_SECONDS = 0.05
options = SceneOptions(tile=128, overlap=64, batch=3, min_area=0)
detect_scene(fake_scene_detector.FakeDetector(), *sys.argv[1:4], options)
"""


class TestResuming:
    @pytest.fixture
    def noisy(self, tmp_path):
        before, after = make_pair(tmp_path / 'in', 500, 700)
        with rasterio.open(after, 'r+') as dataset:
            image = np.random.default_rng(1).integers(0, 255, (3, 500, 700), dtype=np.uint8)
            image[:, 100:300, 200:400] = 255
            dataset.write(image)
        return before, after

    def test_killed_run_goes_on_and_ends_the_same(self, tmp_path, fake, fake_module, tool_env, noisy):
        """SIGKILL in the middle; the next run computes the rest only, and all files are byte-identical."""
        detect_scene(fake, *noisy, tmp_path / 'whole' / 'change.tif', SMALL)
        calls = fake.calls
        output = tmp_path / 'killed' / 'change.tif'
        path = os.pathsep.join([str(fake_module), tool_env['PYTHONPATH']])
        state = output.with_name('.change.tif.part') / 'state'
        process = subprocess.Popen(
            [sys.executable, '-c', RUN, *map(str, noisy), str(output)],
            env={**tool_env, 'PYTHONPATH': path, 'FAKE_SLEEP': '0.1'},
        )
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None:
            if state.is_file() and np.frombuffer(state.read_bytes(), np.int64, 1)[0] > 20:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        done = int(np.frombuffer(state.read_bytes(), np.int64, 1)[0])
        assert [path.name for path in output.parent.iterdir()] == ['.change.tif.part']
        type(fake).calls = 0
        result = detect_scene(fake, *noisy, output, SMALL)
        assert fake.calls == calls - done // 3
        assert 0 < fake.calls < calls
        assert sorted(path.name for path in output.parent.iterdir()) == sorted(
            path.name for path in result.files.values()
        )
        names = [path.name for path in result.files.values()]
        same, different, errors = filecmp.cmpfiles(tmp_path / 'whole', output.parent, names, shallow=False)
        assert (sorted(same), different, errors) == (sorted(names), [], [])

    def test_goes_on_after_a_date_could_not_be_read(self, tmp_path, fake, noisy, monkeypatch):
        """As a drive of the network that is away for a moment."""
        whole = detect_scene(fake, *noisy, tmp_path / 'whole.tif', SMALL)
        calls = fake.calls
        monkeypatch.setattr(job_module, 'CHECKPOINT_SECONDS', 0)
        read = ScenePair.read

        def away(pair, rows, columns):
            if rows[0] > 200:
                raise UserError('after.tif cannot be read')
            return read(pair, rows, columns)

        with monkeypatch.context() as patch:
            patch.setattr(ScenePair, 'read', away)
            with pytest.raises(UserError, match=r'after\.tif cannot be read'):
                detect_scene(fake, *noisy, tmp_path / 'change.tif', SMALL)
        type(fake).calls = 0
        result = detect_scene(fake, *noisy, tmp_path / 'change.tif', SMALL)
        assert 0 < fake.calls < calls
        assert filecmp.cmp(result.files['probs'], whole.files['probs'], shallow=False)

    def test_interrupt_while_writing_results(self, tmp_path, fake, noisy, monkeypatch):
        output = tmp_path / 'change.tif'

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr('hsonet_mm.scenes.scene.write_geotiff', interrupted)
        with pytest.raises(KeyboardInterrupt):
            detect_scene(fake, *noisy, output, SMALL)
        monkeypatch.undo()
        assert not output.exists()
        type(fake).calls = 0
        detect_scene(fake, *noisy, output, SMALL)
        assert type(fake).calls == 0  # all tiles were there

    def test_other_options_start_anew(self, tmp_path, fake, noisy):
        output = tmp_path / 'change.tif'

        def fail(*_, **__):
            raise KeyboardInterrupt

        good, fake.probs = fake.probs, fail
        with pytest.raises(KeyboardInterrupt):
            detect_scene(fake, *noisy, output, SMALL)
        fake.probs = good
        key = output.with_name('.change.tif.part') / 'key.json'
        before = key.read_text()
        fake.probs = fail
        with pytest.raises(KeyboardInterrupt):
            detect_scene(fake, *noisy, output, replaced(overlap=32))
        assert key.read_text() != before

    @pytest.mark.parametrize('size', [0, 8, 100])
    def test_record_that_a_power_cut_left_says_that_nothing_is_done(self, tmp_path, size, monkeypatch):
        monkeypatch.setattr(job_module, 'CHECKPOINT_SECONDS', 0)
        folder, grid = tmp_path / '.change.tif.part', Window(128, 64).grid(300, 420)
        with job_module.SceneJob(folder, {}, grid, 'uint8') as job:
            job.blender.left += 1
            job.record(3)
        with job_module.SceneJob(folder, {}, grid, 'uint8') as job:
            assert job.done == 3
            assert job.blender.left.all()
        state = (folder / 'state').read_bytes()
        (folder / 'state').write_bytes(state[:size])
        with job_module.SceneJob(folder, {}, grid, 'uint8') as job:
            assert job.done == 0
            assert not job.blender.left.any()

    def test_one_process_at_a_time(self, tmp_path, fake):
        before, after = make_pair(tmp_path)
        grid = Window(128, 64).grid(300, 420)
        with (
            job_module.SceneJob(tmp_path / '.change.tif.part', {}, grid, 'uint8'),
            pytest.raises(UserError, match='another process'),
        ):
            detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)


class TestAugmentation:
    @pytest.mark.parametrize(
        ('kinds', 'views'),
        [
            ((), 1),
            (('flips',), 4),
            (('rotations',), 4),
            (('swap',), 2),
            (('flips', 'rotations'), 8),
            (('flips', 'rotations', 'swap'), 16),
        ],
    )
    def test_mean_over_views_in_place(self, kinds, views):
        """A detector that is the pixel itself is unmoved; one that favours a corner sees it in each view."""
        rng = np.random.default_rng(0)
        t1, t2 = rng.integers(0, 255, (2, 2, 32, 64, 3), dtype=np.uint8)
        seen = []

        def probs(a, b, **_):
            seen.append((a.copy(), b.copy()))
            return np.abs(a.astype(np.float32) - b)[..., 0] / 255

        detector = SimpleNamespace(probs=probs)
        np.testing.assert_allclose(augmented_probs(detector, t1, t2, kinds), probs(t1, t2), atol=1e-6)
        assert len({(a.shape, a.tobytes(), b.tobytes()) for a, b in seen}) == views

    def test_views_are_averaged(self):
        """A detector that sees something in the first pixel of whatever it gets spreads it over the corners."""
        images = np.zeros((1, 32, 64, 3), np.uint8)

        def first_pixel(a, _, **__):
            result = np.zeros(a.shape[:3], np.float32)
            result[:, 0, 0] = 1
            return result

        result = augmented_probs(SimpleNamespace(probs=first_pixel), images, images, ('flips', 'rotations'))
        assert result.sum() == 1
        assert (result[0, [0, 0, -1, -1], [0, -1, 0, -1]] == 0.25).all()
        result = augmented_probs(SimpleNamespace(probs=first_pixel), images, images, ('swap',))
        assert result[0, 0, 0] == 1

    def test_in_a_scene(self, tmp_path, fake):
        before, after = make_pair(tmp_path)
        plain = detect_scene(fake, before, after, tmp_path / 'plain.tif', SMALL)
        calls = fake.calls
        augmented = detect_scene(
            fake, before, after, tmp_path / 'tta.tif', replaced(tta=('flips', 'rotations', 'swap'))
        )
        assert fake.calls == 17 * calls
        np.testing.assert_array_equal(probs_of(plain.files['probs']), probs_of(augmented.files['probs']))


class TestPipeline:
    def test_reads_and_writes_while_the_model_computes(self, tmp_path, fake, monkeypatch):
        """Each step waits for one of another stage that comes at the same time or never."""
        before, after = make_pair(tmp_path, 128, 700)
        grid = Window(128, 64).grid(128, 700)
        assert len(grid) > 8
        was_read, computing = ([threading.Event() for _ in range(len(grid) + 1)] for _ in range(2))
        was_read[-1].set()
        computing[-1].set()
        read, order = pipeline.read_tile, iter(range(len(grid)))

        def read_tile(pair, grid, index):
            tile = read(pair, grid, index)
            was_read[index].set()
            return tile

        def probs(t1, _, **__):
            index = next(order)
            computing[index].set()
            assert was_read[index + 1].wait(20), 'the next tile is not read meanwhile'
            return np.zeros(t1.shape[:3], np.float32)

        def add(index, *_):
            assert computing[index + 1].wait(20), 'the model waits for the writer'

        monkeypatch.setattr(pipeline, 'read_tile', read_tile)
        fake.probs = probs
        pair = ScenePair(read_info(before), read_info(after))
        job = SimpleNamespace(done=0, add=add, record=lambda _: None)
        pipeline.detect_tiles(fake, pair, grid, job, batch=1, readers=1)
        pair.close()
        assert next(order, None) is None

    def test_threads_share_the_files(self, tmp_path, monkeypatch):
        """Handles of their own would each decode all blocks."""
        pair = ScenePair(*map(read_info, make_pair(tmp_path)))
        whole = pair.read((0, 300), (0, 420))
        pair.close()
        opened, meeting = [], threading.Barrier(4, timeout=20)
        open_before = rasters.open_date
        monkeypatch.setattr(rasters, 'open_date', lambda info: opened.append(info) or open_before(info))

        def read(row):
            meeting.wait()
            return pair.read((row, row + 75), (0, 420))

        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(read, range(0, 300, 75)))
        pair.close()
        assert opened == [pair.t1, pair.t2]
        for index, expected in enumerate(whole):
            np.testing.assert_array_equal(np.concatenate([part[index] for part in parts]), expected)

    def test_dates_are_closed_before_results_are_written(self, tmp_path, fake, monkeypatch):
        """So that what GDAL decoded of them takes no memory then."""
        events = []

        def noted(name, function):
            return lambda *args: events.append(name) or function(*args)

        for owner, name in (
            (ScenePair, 'close'),
            (scene_module, 'give_back_memory'),
            (scene_module, '_write'),
        ):
            monkeypatch.setattr(owner, name, noted(name, getattr(owner, name)))
        detect_scene(fake, *make_pair(tmp_path), tmp_path / 'change.tif', SMALL)
        assert events[: events.index('_write')] == ['give_back_memory', 'close', 'give_back_memory']

    def test_polygons_are_found_while_rasters_are_written(self, tmp_path, fake, monkeypatch):
        """Each waits for the other to begin."""
        meeting, met = threading.Barrier(2, timeout=20), threading.Event()

        def after_meeting(write):
            def write_later(*args):
                if not met.is_set():
                    meeting.wait()
                    met.set()
                return write(*args)

            return write_later

        for name in ('write_geotiff', 'write_polygons'):
            monkeypatch.setattr(scene_module, name, after_meeting(getattr(scene_module, name)))
        result = detect_scene(fake, *make_pair(tmp_path), tmp_path / 'change.tif', SMALL)
        assert all(path.exists() for path in result.files.values())


@pytest.fixture
def two_folders(tmp_path):
    """Three scenes; the second date of one is damaged."""
    for name in ('one', 'two', 'three'):
        before, after = make_pair(tmp_path / name)
        for path, folder in ((before, 'a'), (after, 'b')):
            (tmp_path / folder).mkdir(exist_ok=True)
            path.rename(tmp_path / folder / f'{name}.tif')
    (tmp_path / 'b' / 'two.tif').write_bytes(b'no raster')
    return tmp_path / 'a', tmp_path / 'b'


class TestManyScenes:
    @pytest.fixture(autouse=True)
    def _importable(self, fake_module, tool_env, monkeypatch, tmp_path):
        monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(fake_module), tool_env['PYTHONPATH']]))
        monkeypatch.chdir(tmp_path)
        from fake_scene_detector import FakeSpec

        self.model, self.broken = FakeSpec(('model.fake',)), FakeSpec(('broken.fake',))
        (tmp_path / 'model.fake').touch()
        (tmp_path / 'broken.fake').touch()

    @pytest.mark.parametrize('workers', [None, 2])
    def test_one_fails_the_others_go_on(self, two_folders, tmp_path, workers):
        scenes = listing.find_scenes(*two_folders, tmp_path / 'out')
        assert [scene.output for scene in scenes] == [
            str(tmp_path / 'out' / f'{name}.tif') for name in ('one', 'three', 'two')
        ]
        outcomes = {
            outcome.scene.output[-7:-4]: outcome
            for outcome in many.run_scenes(self.model, scenes, SMALL, tmp_path / 'out', workers=workers)
        }
        assert len(outcomes) == 3
        assert 'two.tif cannot be read' in outcomes['two'].error
        assert not outcomes['one'].error
        assert outcomes['one'].summary['changed_pixels'] == 600
        assert sorted(path.name for path in (tmp_path / 'out').glob('*.tif')) == [
            'one.tif',
            'one_mask.tif',
            'three.tif',
            'three_mask.tif',
        ]
        assert not list((tmp_path / 'out').glob('.scenes*'))

    def test_workers_may_be_elsewhere(self, two_folders, tmp_path, monkeypatch):
        """The leaderboard's tests start a cluster."""
        calls = []

        def run_jobs(jobs, module, *where):
            calls.append((module, *where))
            yield SimpleNamespace(job=jobs[0], code=1, error='gone')

        monkeypatch.setattr(many, 'run_jobs', run_jobs)
        scenes = listing.find_scenes(*two_folders, tmp_path / 'out')
        (lost,) = many.run_scenes(self.model, scenes, SMALL, tmp_path / 'out', 'ray', 2, [], 'head:1')
        assert 'gone' in lost.error
        assert calls == [('hsonet_mm.scenes.worker', 'ray', 2, [], 'head:1')] * 2

    @pytest.fixture
    def in_process(self, monkeypatch):
        """Workers run in this process, but for jobs with scenes of these names, which die."""
        dying = []

        def run_jobs(jobs, module, *_):
            assert module == 'hsonet_mm.scenes.worker'
            for job in jobs:
                yield SimpleNamespace(job=job, code=None, error='')
                dies = any(name.encode() in job.read_bytes() for name in dying)
                with job.with_name('log.txt').open('w') as log, contextlib.redirect_stderr(log):
                    code = -9 if dies else worker.main(job)
                yield SimpleNamespace(job=job, code=code, error='')

        monkeypatch.setattr(many, 'run_jobs', run_jobs)
        return dying

    def test_process_that_dies(self, two_folders, tmp_path, in_process):
        """Scenes that shared a process with one that killed it get another one."""
        in_process.append('two.tif')
        scenes = [*listing.find_scenes(*two_folders, tmp_path / 'out')]
        scenes += [
            listing.Scene(scenes[0].before, scenes[0].after, str(tmp_path / 'out' / f'{n}.tif'))
            for n in range(7)
        ]
        options = replaced(reading=Reading(stretch=Stretch(0, 255)), dates=('2019', '2023'))
        outcomes = list(many.run_scenes(self.model, scenes, options, tmp_path / 'out', workers=2))
        failed = {outcome.scene.output: outcome.error for outcome in outcomes if outcome.error}
        assert failed == {
            str(tmp_path / 'out' / 'two.tif'): 'its process ended with code -9 (perhaps out of memory)'
        }
        assert len(outcomes) == len({outcome.scene for outcome in outcomes}) == 10
        assert outcomes[0].summary['stretch'] == ['0,255', '0,255']
        assert outcomes[0].summary['before']['name'] == '2019'

    def test_two_runs_into_one_folder_keep_apart(self, two_folders, tmp_path, in_process):
        assert not in_process
        (one, *rest) = listing.find_scenes(*two_folders, tmp_path / 'out')
        runs = [
            many.run_scenes(self.model, scenes, SMALL, tmp_path / 'out', workers=2)
            for scenes in ([one], rest)
        ]
        first, second = (next(run) for run in runs)
        found = [[first, *runs[0]], [second, *runs[1]]]
        assert [{outcome.scene for outcome in some} for some in found] == [{one}, {*rest}]

    @pytest.mark.parametrize('workers', [None, 2])
    def test_no_folder_is_left_where_all_fail(self, tmp_path, in_process, workers):
        assert not in_process
        (tmp_path / 'bad.tif').touch()
        scene = listing.Scene(
            *(str(tmp_path / name) for name in ('bad.tif', 'bad.tif', 'out/new/change.tif'))
        )
        (outcome,) = many.run_scenes(self.model, [scene], SMALL, tmp_path / 'out', workers=workers)
        assert 'bad.tif cannot be read' in outcome.error
        assert not (tmp_path / 'out').exists()

    def test_place_that_cannot_be_written(self, two_folders, tmp_path, in_process):
        assert not in_process
        (tmp_path / 'file').touch()
        scenes = listing.find_scenes(*two_folders, tmp_path / 'out')
        with pytest.raises(UserError, match='file cannot be created'):
            list(many.run_scenes(self.model, scenes, SMALL, tmp_path / 'file', workers=2))

    def test_model_that_cannot_be_loaded(self, two_folders, tmp_path, in_process):
        assert not in_process
        scenes = listing.find_scenes(*two_folders, tmp_path / 'out')
        with pytest.raises(UserError, match='the model is broken'):
            list(many.run_scenes(self.broken, scenes, SMALL, tmp_path / 'out', workers=2))
        assert not (tmp_path / 'out').exists()

    def test_list(self, tmp_path):
        rows = [('a/one.tif', 'b/one.tif', 'out/x.tif'), ('a/three.tif', 'b/three.tif', 'out/y.tif')]
        with (tmp_path / 'list.csv').open('w', newline='') as file:
            csv.writer(file).writerows([('before', 'after', 'output'), *rows])
        scenes = listing.read_list(tmp_path / 'list.csv')
        assert scenes[0] == listing.Scene(*(str(tmp_path / cell) for cell in rows[0]))
        assert listing.read_list(tmp_path / 'list.csv', tmp_path / 'o')[1].output == str(
            tmp_path / 'o/out/y.tif'
        )

    @pytest.mark.parametrize(
        ('text', 'sentence'),
        [
            ('', '^invalid header of the list'),
            ('before,after\na,b\n', '^invalid header of the list'),
            ('before,after,output\n', 'names no scenes'),
            ('before,after,output\na,b\n', 'line 2'),
            (b'\xff\xfe\x00', 'cannot be read'),
        ],
    )
    def test_bad_lists(self, tmp_path, text, sentence):
        (tmp_path / 'list.csv').write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(UserError, match=sentence):
            listing.read_list(tmp_path / 'list.csv')

    @pytest.mark.parametrize(
        ('rows', 'sentence'),
        [
            (
                [('a.tif', 'b.tif', 'q.tif'), ('c.tif', 'd.tif', 'q.tif')],
                r'q\.tif would be a result of two scenes, a\.tif to b\.tif and c\.tif to d\.tif: give',
            ),
            (
                [('a.tif', 'b.tif', 'q.tif'), ('c.tif', 'd.tif', 'q.tiff')],
                r'q_mask\.tif would be a result of two scenes',
            ),
            (
                [('x.tif', 'x2.tif', 'do/x.tif'), ('x_mask.tif', 'x_mask2.tif', './do/x_mask.tif')],
                r'do/x_mask\.tif would be a result of two scenes',
            ),
            (
                [('2019.tif', '2020.tif', '2021.tif'), ('2020.tif', '2021.tif', 'c2.tif')],
                r'2021\.tif, of the scene 2020\.tif to 2021\.tif, would be replaced by a result of the scene 2019\.tif',
            ),
            (
                [('c1_mask.tif', '2020.tif', 'c2.tif'), ('2019.tif', '2020.tif', 'c1.tif')],
                r'c1_mask\.tif, of the scene c1_mask\.tif to 2020\.tif, would be replaced',
            ),
        ],
    )
    def test_results_that_replace_each_other_or_an_input(self, rows, sentence):
        """Refused before the model is loaded."""
        scenes = [listing.Scene(*row) for row in rows]
        with pytest.raises(UserError, match=sentence):
            next(many.run_scenes(self.broken, scenes, SMALL, Path()))

    def test_other_results_beside_each_other_are_fine(self):
        scenes = [
            listing.Scene('a/x.tif', 'b/x.tif', f'out/{name}.tif') for name in ('x', 'x_2020', 'x_mask.2')
        ]
        listing.check_results(scenes, 'gpkg')

    def test_folders_that_do_not_match(self, two_folders, tmp_path):
        (tmp_path / 'b' / 'one.tif').unlink()
        with pytest.raises(UserError, match=r'one is in .*a, but not in .*b'):
            listing.find_scenes(*two_folders, tmp_path / 'out')
        (tmp_path / 'empty').mkdir()
        with pytest.raises(UserError, match='empty contains no rasters'):
            listing.find_scenes(two_folders[0], tmp_path / 'empty', tmp_path / 'out')
        with pytest.raises(UserError, match='is the folder of the rasters'):
            listing.find_scenes(two_folders[0], two_folders[0], two_folders[0])
        (tmp_path / 'a' / 'one.tiff').touch()
        with pytest.raises(UserError, match='have one name'):
            listing.find_scenes(*two_folders, tmp_path / 'out')
