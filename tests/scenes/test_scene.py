"""Scenes: rasters of any size to georeferenced change maps."""

import json
import threading

import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
import shapely
from made_up_scene import GRID, SMALL, UTM, ground, make_pair, probs_of, read_all, replaced, write_raster
from pyogrio.raw import read as read_vectors
from rasterio.enums import ColorInterp
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform as transform_points

from hsonet_mm.errors import UserError
from hsonet_mm.geo.headers import read_info
from hsonet_mm.geo.rasters import ScenePair
from hsonet_mm.images.options import Reading, Stretch
from hsonet_mm.scenes import scene as scene_module
from hsonet_mm.scenes.scene import detect_scene, result_files

pytestmark = pytest.mark.any_host


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

    @pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16'])
    def test_partial_overlap(self, tmp_path, fake, dtype):
        before = write_raster(tmp_path / 'before.tif', np.full((3, 200, 200), 9, dtype))
        moved = GRID * Affine.translation(150, 120)
        after = write_raster(tmp_path / 'after.tif', np.full((3, 200, 200), 9, dtype), transform=moved)
        result = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        valid = np.zeros((200, 200), bool)
        valid[120:, 150:] = True
        assert np.array_equal(np.isfinite(probs_of(result.files['probs'])), valid)

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


class TestAugmentation:
    def test_in_a_scene(self, tmp_path, fake):
        before, after = make_pair(tmp_path)
        plain = detect_scene(fake, before, after, tmp_path / 'plain.tif', SMALL)
        calls = fake.calls
        augmented = detect_scene(
            fake, before, after, tmp_path / 'tta.tif', replaced(tta=('flips', 'rotations', 'swap'))
        )
        assert fake.calls == 17 * calls
        np.testing.assert_array_equal(probs_of(plain.files['probs']), probs_of(augmented.files['probs']))

    def test_that_of_the_detector_counts_once(self, tmp_path, fake, monkeypatch):
        before, after = make_pair(tmp_path)
        detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        monkeypatch.setattr(fake, 'tta', ('rotations',), raising=False)
        calls = fake.calls
        again = detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
        assert again.fresh  # not up to date: the earlier result had one view
        assert again.summary['tta'] == ['rotations']
        assert fake.calls - calls == 4 * calls


class TestOrder:
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
