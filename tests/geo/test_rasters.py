"""Both dates on the grid of the first."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

from made_up_scene import UTM, make_pair, write_raster
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform as transform_points
from scipy import ndimage

from hsonet_mm.geo import rasters
from hsonet_mm.geo.headers import read_info
from hsonet_mm.geo.rasters import ScenePair

pytestmark = pytest.mark.any_host


class TestInputs:
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

    def test_transparent_pixels_of_signed_values_are_in_no_percentile(self, tmp_path):
        image = np.full((4, 100, 100), 500, np.int16)
        image[:3, :50], image[3, :50] = -9000, 0
        path = write_raster(tmp_path / 'a.tif', image, with_alpha=True)
        pair = ScenePair(read_info(path), read_info(path))
        assert pair.stretches[0].low == 500


class TestNotes:
    @pytest.mark.parametrize(
        ('crs', 'moved', 'told'),
        [
            (UTM, (0, 0), False),
            (UTM, (60, 70), False),  # covers 12 %
            (UTM, (70, 70), True),  # covers 9 %
            ('EPSG:32634', (0, 0), False),
            ('EPSG:32634', (70, 70), True),
        ],
    )
    def test_little_of_the_first_date_is_covered(self, tmp_path, crs, moved, told):
        image = np.full((3, 100, 100), 9, np.uint8)
        before = write_raster(tmp_path / 'a.tif', image, transform=from_origin(500_000, 5_000_000, 1, 1))
        x, y = 500_000 + moved[0], 5_000_000 - moved[1]
        if crs != UTM:
            (x,), (y,) = transform_points(UTM, crs, [x], [y])
        after = write_raster(tmp_path / 'b.tif', image, crs, from_origin(x, y, 1, 1))
        notes = ScenePair(read_info(before), read_info(after)).notes()
        assert len(notes) == told
        assert all(note.startswith(f'{after} covers less than 10% of {before}') for note in notes)

    def test_longitudes_after_a_turn(self, tmp_path):
        image = np.full((3, 50, 200), 9, np.uint8)
        paths = [
            write_raster(tmp_path / f'{left}.tif', image, 'EPSG:4326', from_origin(left, 10, 0.001, 0.001))
            for left in (200, -160)
        ]
        for order in (paths, paths[::-1]):
            assert ScenePair(*map(read_info, order)).notes() == []


class TestThreads:
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
