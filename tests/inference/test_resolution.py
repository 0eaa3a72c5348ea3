"""The size of pixels on the ground: how it is measured, when it is worth a warning, the way to a model and back."""

import json
import tracemalloc

import cv2
import numpy as np
import pytest

pytest.importorskip('shapely')
pytest.importorskip('pyogrio')

import rasterio
from rasterio.transform import from_origin

from hsonet_mm import ChangeDetector
from hsonet_mm.commands.options import resample_of
from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.images.ground import PixelSize
from hsonet_mm.inference.resolution import Resampling, dates_note, pair_notes, resampling, resolution_note
from hsonet_mm.scenes.pipeline import detect_tiles
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene
from hsonet_mm.windows import Window

UTM = 'EPSG:32633'
OWN = (0.5, 1.0)


class Contrast:
    """A model for pixels of 0.5 to 1 m: the difference of the dates, blurred over 3 x 3 of the pixels that it sees."""

    name, threshold, threshold_source, versions, device = 'contrast', 0.3, 'given', {'fake': '1'}, 'cpu'
    reading = Reading()
    tile_size, crop_size, slides, ground_resolution = None, 64, False, OWN

    def __init__(self):
        self.seen = []

    def whole(self):
        return self

    def probs(self, t1, t2):
        self.seen.append(t1.shape[1:3])
        difference = np.abs(t1.astype(np.float32) - t2).mean(3) / 255
        return np.stack([cv2.blur(one, (3, 3)) for one in difference])


class Fixed(Contrast):
    tile_size = 32

    def probs(self, t1, t2):
        assert t1.shape[1:3] == (32, 32)
        return super().probs(t1, t2)


def write(path, image, size, crs=UTM, x=500_000, y=5_000_000):
    """Write an image (H, W, 3) whose pixels have a size in units of the reference system."""
    across, down = size if isinstance(size, tuple) else (size, size)
    profile = {'crs': crs, 'transform': from_origin(x, y, across, down)} if crs else {}
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        height=image.shape[0],
        width=image.shape[1],
        count=3,
        dtype='uint8',
        **profile,
    ) as dataset:
        dataset.write(image.transpose(2, 0, 1))
    return path


def dates(height, width, seed=0):
    """Two dates that differ in a few rectangles."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    t1 = np.ascontiguousarray(cv2.resize(coarse, (width, height)))
    t2 = t1.copy()
    for top, left in rng.integers(0, [height - 20, width - 20], (5, 2)):
        t2[top : top + 18, left : left + 15] = rng.integers(0, 256, 3)
    return t1, t2


def halved(image):
    """Means over 2 x 2 pixels."""
    height, width, bands = image.shape
    blocks = image.reshape(height // 2, 2, width // 2, 2, bands).astype(float)
    return blocks.mean(axis=3).round().mean(axis=1).round().astype(np.uint8)


class TestNote:
    @pytest.mark.parametrize('metres', [0.5 / 1.4, 0.5, 0.7, 1.4])
    def test_near_enough(self, metres):
        assert resolution_note('a.tif', PixelSize(metres, metres), 'm', OWN) is None

    @pytest.mark.parametrize('metres', [0.1, 0.5 / 1.6, 1.6, 10])
    def test_far(self, metres):
        note = resolution_note('a.tif', PixelSize(metres, metres), 'm', OWN)
        assert note.startswith(f'a.tif has a ground resolution of {metres:.3g} m, but m is for 0.5 to 1 m')
        assert note.endswith('--resample')

    def test_nobody_said(self):
        assert resolution_note('a.tif', PixelSize(10, 10), 'm', None) is None


class TestDates:
    @pytest.mark.parametrize('metres', [(0.5, 0.7), (0.7, 0.5), (0.5, 0.5)])
    def test_near_enough(self, metres):
        one, other = (PixelSize(size, size) for size in metres)
        assert dates_note('a.tif', one, 'b.tif', other) is None

    def test_either_order(self):
        fine, coarse = PixelSize(0.5, 0.5), PixelSize(10, 10)
        expected = (
            'b.tif has a ground resolution of 10 m, 20 times that of a.tif (0.5 m): detail that one date lacks looks '
            'like change'
        )
        assert dates_note('a.tif', fine, 'b.tif', coarse) == expected
        assert dates_note('b.tif', coarse, 'a.tif', fine) == expected


class TestResampling:
    @pytest.mark.parametrize(
        ('size', 'resample', 'expected'),
        [
            (0.25, 'model', 0.5),
            (4.0, 'model', 1.0),
            (0.7, 'model', None),
            (0.49, 'model', None),  # as near as reference systems are to the ground
            (0.25, 0.25, None),
            (0.25, 0.75, 0.75),
            (0.7, 0.35, 0.35),
        ],
    )
    def test_where_to(self, size, resample, expected):
        found = resampling('a.tif', PixelSize(size, size), resample, 'm', OWN, None)
        if expected is None:
            assert found is None
        else:
            assert found.metres == expected
            assert (found.down, found.across) == pytest.approx((expected / size,) * 2)

    def test_oblong_pixels_become_squares(self):
        found = resampling('a.tif', PixelSize(1.0, 0.25), 'model', 'm', OWN, None)
        assert (found.down, found.across) == (0.5, 2)
        assert found.shape(10, 40) == (20, 20)

    def test_what_is_missing(self):
        with pytest.raises(UserError, match=r'a\.png is not georeferenced.*leave out --resample'):
            resampling('a.png', None, 'model', 'm', OWN, None)
        with pytest.raises(UserError, match=r'm does not declare a ground resolution.*--resample 0\.5'):
            resampling('a.tif', PixelSize(1, 1), 'model', 'm', None, None)

    @pytest.mark.parametrize(('size', 'metres'), [(0.5, 51), (0.5, 1e9), (30, 0.29), (0.5, 1e-4)])
    def test_what_is_not_meant(self, size, metres):
        with pytest.raises(UserError, match=r'^a\.tif has a ground resolution of .* ratio of at most 100'):
            resampling('a.tif', PixelSize(size, size), metres, 'm', OWN, None)

    def test_from_landsat_to_drones(self):
        assert resampling('a.tif', PixelSize(30, 30), 0.3, 'm', OWN, None).down == 0.01

    def test_means_there_and_interpolation_back(self):
        way = Resampling(2, 4, 1.0)
        image = np.random.default_rng(0).integers(0, 256, (1, 6, 8, 5), dtype=np.uint8)
        blocks = image.reshape(1, 3, 2, 2, 4, 5).astype(float)
        np.testing.assert_allclose(way.there(image), blocks.mean(axis=(2, 4)), atol=1)
        # What is linear in the place is interpolated exactly, but for half a pixel at the edges.
        probs = np.arange(3, dtype=np.float32)[None, :, None] + np.zeros((1, 3, 2), np.float32)
        expected = ((np.arange(6) + 0.5) / 2 - 0.5).clip(0, 2)
        np.testing.assert_allclose(
            way.back(probs, 6, 8)[0], np.repeat(expected[:, None], 8, axis=1), atol=1e-6
        )

    def test_windows_are_as_large_on_the_ground(self):
        grid = Resampling(2, 2, 0.5).grid(Window(64, 16), 300, 500)
        assert (grid.rows.size, grid.columns.size) == (128, 128)
        assert [start % 32 for start in grid.rows.starts] == [0] * len(grid.rows)
        assert grid.rows.starts[1] == 2 * (64 - 16)

    @pytest.mark.parametrize('factor', [0.3, 0.51, 1.3, 3.77])
    def test_a_tile_of_one_size(self, factor):
        way = Resampling(factor, factor, 0.5, tile=32)
        grid = way.grid(Window(32, 8, fixed=True), 100, 200)
        tile = np.zeros((2, grid.rows.size, grid.columns.size, 3), np.uint8)
        assert way.there(tile).shape == (2, 32, 32, 3)

    @pytest.mark.parametrize(('given', 'read'), [(None, None), ('model', 'model'), ('0.5', 0.5)])
    def test_option(self, given, read):
        assert resample_of(type('Args', (), {'resample': given})) == read

    @pytest.mark.parametrize('given', ['before.tif', '0', '-1', 'nan', 'inf'])
    def test_option_that_cannot_be(self, given):
        with pytest.raises(UserError, match=f"invalid --resample '{given}': expected a size in metres"):
            resample_of(type('Args', (), {'resample': given}))


class TestImages:
    def test_the_way_there_and_back(self, tmp_path):
        t1, t2 = dates(80, 120)
        paths = [write(tmp_path / f'{name}.tif', image, 0.25) for name, image in (('a', t1), ('b', t2))]
        model = Contrast()
        prediction = ChangeDetector(model, resample='model').predict(*paths)
        assert model.seen == [(40, 60)]
        small = model.probs(halved(t1)[None], halved(t2)[None])[0]
        expected = cv2.resize(small, (120, 80), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(prediction.probs, expected, atol=2 / 255)
        assert prediction.mask.any()
        np.testing.assert_array_equal(prediction.mask, prediction.probs > np.float32(0.3))
        plain = ChangeDetector(model).predict(*paths)
        assert abs(plain.probs - prediction.probs).max() > 0.1

    def test_pixels_without_data_stay_without(self, tmp_path):
        t1, t2 = dates(80, 120)
        t1[:, :31] = 0
        paths = [write(tmp_path / f'{name}.tif', image, 0.25) for name, image in (('a', t1), ('b', t2))]
        detector = ChangeDetector(Contrast(), resample='model', reading=Reading.make(nodata=0))
        prediction = detector.predict(*paths)
        np.testing.assert_array_equal(prediction.valid, np.arange(120)[None] >= np.full((80, 1), 31))
        assert not prediction.mask[:, :31].any()

    def test_right_size_and_arrays_stay(self, tmp_path):
        t1, t2 = dates(80, 120)
        paths = [write(tmp_path / f'{name}.tif', image, 0.5) for name, image in (('a', t1), ('b', t2))]
        model = Contrast()
        detector = ChangeDetector(model, resample='model')
        detector.predict(*paths)
        detector.predict(t1, t2, channel_order='rgb')
        assert model.seen == [(80, 120)] * 2

    def test_image_without_georeference(self, tmp_path):
        t1, t2 = dates(80, 120)
        paths = [
            write(tmp_path / f'{name}.tif', image, 1, crs=None) for name, image in (('a', t1), ('b', t2))
        ]
        with pytest.raises(UserError, match=r'a\.tif is not georeferenced'):
            ChangeDetector(Contrast(), resample='model').predict(*paths)
        detector = ChangeDetector(Contrast())
        assert pair_notes(detector, *detector.read(*paths)) == []

    def test_dates_of_other_pixel_sizes(self, tmp_path):
        t1, _ = dates(80, 120)
        paths = [write(tmp_path / 'a.tif', t1, 0.5), write(tmp_path / 'b.tif', t1[::2, ::2], 1)]
        with pytest.raises(UserError, match=r'60 x 40 pixels .*: give both to hsonet scene'):
            ChangeDetector(Contrast()).predict(*paths)

    def test_warning(self, tmp_path):
        t1, t2 = dates(80, 120)
        paths = [write(tmp_path / f'{name}.tif', image, 3) for name, image in (('a', t1), ('b', t2))]
        detector = ChangeDetector(Contrast())
        (note,) = pair_notes(detector, *detector.read(*paths))
        assert 'a.tif has a ground resolution of 3 m, but contrast is for 0.5 to 1 m' in note
        write(paths[0], t1, 1)
        (note,) = pair_notes(detector, *detector.read(*paths))
        assert 'b.tif has a ground resolution of 3 m, 3 times that of ' in note
        write(paths[0], t1, 3)
        resampled = ChangeDetector(Contrast(), resample=1.0)
        assert pair_notes(resampled, *resampled.read(*paths)) == []


class TestScenes:
    def run(self, tmp_path, model, size, t1, t2, **options):
        paths = [write(tmp_path / f'{name}.tif', image, size) for name, image in (('a', t1), ('b', t2))]
        probs, transform, summary = self.detect(tmp_path, model, paths, **options)
        assert probs.shape == t1.shape[:2]
        assert transform == from_origin(500_000, 5_000_000, size, size)
        return probs, summary

    def detect(self, tmp_path, model, paths, **options):
        out = tmp_path / 'out' / 'change.tif'
        out.parent.mkdir(exist_ok=True)
        made = SceneOptions(float32=True, polygons='none', **options)
        result = detect_scene(ChangeDetector(model), *paths, out, made)
        with rasterio.open(out) as dataset:
            return dataset.read(1), dataset.transform, result.summary

    def test_the_way_there_and_back(self, tmp_path):
        t1, t2 = dates(300, 420)
        model = Contrast()
        probs, summary = self.run(tmp_path, model, 0.25, t1, t2, resample='model')
        assert set(model.seen) == {(64, 64)}
        small = model.probs(halved(t1)[None], halved(t2)[None])[0]
        expected = cv2.resize(small, (420, 300), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(probs, expected, atol=2 / 255)
        assert summary['resampled_to_m'] == 0.5
        assert summary['ground_resolution_m'] == pytest.approx(0.25 / 0.9996, abs=1e-4)
        assert summary['warnings'] == []

    def test_larger_pixels_and_augmentation(self, tmp_path):
        t1, t2 = dates(100, 140)
        probs, _ = self.run(tmp_path, Contrast(), 2, t1, t2, resample='model', tta=('flips', 'rotations'))
        large = [cv2.resize(image, (280, 200), interpolation=cv2.INTER_LINEAR) for image in (t1, t2)]
        expected = cv2.resize(Contrast().probs(*(image[None] for image in large))[0], (140, 100))
        np.testing.assert_allclose(probs, expected, atol=2 / 255)

    def test_tiles_of_one_size(self, tmp_path):
        t1, t2 = dates(100, 140)
        probs, _ = self.run(tmp_path, Fixed(), 0.2, t1, t2, resample=0.5)
        assert probs.max() > 0.1

    def test_warning_without(self, tmp_path):
        t1, t2 = dates(100, 140)
        model = Contrast()
        _, summary = self.run(tmp_path, model, 0.25, t1, t2)
        (warning,) = summary['warnings']
        assert 'a.tif has a ground resolution of 0.25 m, but contrast is for 0.5 to 1 m' in warning
        assert summary['resampled_to_m'] is None
        _, summary = self.run(tmp_path, model, 0.7, t1, t2)
        assert summary['warnings'] == []

    @pytest.mark.parametrize('coarse', [0, 1])
    def test_dates_of_different_resolutions(self, tmp_path, coarse):
        t1, t2 = dates(100, 140)
        sizes = [10, 1] if coarse == 0 else [1, 10]
        paths = [
            write(tmp_path / f'{name}.tif', image, size)
            for name, image, size in zip('ab', (t1, t2), sizes, strict=True)
        ]
        detector = ChangeDetector(Contrast(), window='whole')
        result = detect_scene(detector, *paths, tmp_path / 'change.tif', SceneOptions(resample=1.0))
        notes = [note for note in result.summary['warnings'] if '10 times that of ' in note]
        assert len(notes) == 1
        assert notes[0].startswith(f'{paths[coarse]} has a ground resolution of 10 m')

    def test_memory_does_not_grow_with_the_tiles_that_wait(self, tmp_path, monkeypatch):
        """They wait as small as the model sees them: 9 groups of 4 at 7 bytes a pixel would be 252."""
        peaks = []

        def traced(*args):
            tracemalloc.start()
            try:
                detect_tiles(*args)
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()

        monkeypatch.setattr('hsonet_mm.scenes.scene.detect_tiles', traced)
        t1, t2 = dates(1300, 2100)
        t1[::9, ::7] = 0
        self.run(tmp_path, Contrast(), 1 / 16, t1, t2, resample=1.0, tile=32, reading=Reading.make(nodata=0))
        assert 0 < peaks[0] < 100 * 512**2

    def test_an_interrupted_scene_continues(self, tmp_path, monkeypatch):
        """Nodata in between, so that some tiles are valid in part and some nowhere."""
        monkeypatch.setattr('hsonet_mm.scenes.job.CHECKPOINT_SECONDS', 0)
        t1, t2 = dates(300, 420)
        t1[:130, 100:390] = 0
        paths = [write(tmp_path / f'{name}.tif', image, 0.25) for name, image in (('a', t1), ('b', t2))]
        options = {'resample': 'model', 'batch': 1, 'reading': Reading.make(nodata=0)}
        (tmp_path / 'once').mkdir()
        model = Contrast()
        expected, *_ = self.detect(tmp_path / 'once', model, paths, **options)
        assert np.isnan(expected).any()

        class Dying(Contrast):
            def probs(self, t1, t2):
                if len(self.seen) == 7:
                    raise KeyboardInterrupt
                return super().probs(t1, t2)

        with pytest.raises(KeyboardInterrupt):
            self.detect(tmp_path, Dying(), paths, **options)
        rest = Contrast()
        probs, *_ = self.detect(tmp_path, rest, paths, **options)
        assert 0 < len(rest.seen) < len(model.seen)
        np.testing.assert_array_equal(probs, expected)

    def test_another_resolution_is_another_result(self, tmp_path):
        t1, t2 = dates(100, 140)
        first, _ = self.run(tmp_path, Contrast(), 0.25, t1, t2)
        second, _ = self.run(tmp_path, Contrast(), 0.25, t1, t2, resample=1.0)
        assert abs(first - second).max() > 0.1


def test_commands(tmp_path, hsonet, tiny_onnx):
    """The options arrive; a model that names no ground resolution needs one."""
    pytest.importorskip('pyogrio')
    pytest.importorskip('shapely')
    t1, t2 = dates(80, 120)
    paths = [write(tmp_path / f'{name}.tif', image, 0.25) for name, image in (('a', t1), ('b', t2))]
    out = tmp_path / 'change.tif'
    code, _, stderr = hsonet('scene', tiny_onnx, *paths, '-o', out, '--resample')
    assert code == 2
    assert 'tiny.onnx does not declare a ground resolution' in stderr
    code, stdout, stderr = hsonet('scene', tiny_onnx, *paths, '-o', out, '--resample', '0.5')
    assert code == 0, stderr
    assert 'predicted at 0.5 m on the ground' in stdout
    assert json.loads((tmp_path / 'change.json').read_text())['resampled_to_m'] == 0.5
    code, _, stderr = hsonet('predict', tiny_onnx, *paths, '-o', tmp_path / 'out', '--resample', '0.5')
    assert code == 0, stderr
    code, _, stderr = hsonet('predict', '--resample', tiny_onnx, *paths, '-o', tmp_path / 'out')
    assert code == 2
    assert 'place it after the images' in stderr
