"""A scene as tiles: each level halves the one below it."""

import tracemalloc

import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

from made_up_view import decode

from hsonet_mm.errors import UserError
from hsonet_mm.viewer import pyramid as pyramid_module
from hsonet_mm.viewer.pyramid import Pyramid, halve

pytestmark = pytest.mark.any_host


class TestPyramid:
    @pytest.fixture(autouse=True)
    def small_tiles(self, monkeypatch):
        monkeypatch.setattr(pyramid_module, 'TILE', 16)

    @staticmethod
    def blocks(height, width, seed=0):
        rng = np.random.default_rng(seed)
        image = rng.integers(0, 250, (height, width, 7), dtype=np.uint8)
        image[rng.random((height, width)) < 0.3] = (0, 0, 0, 0, 0, 0, 255)
        return image

    @staticmethod
    def mean(block):
        """Pixel by pixel: the mean of those of up to four that have a value, halves up."""
        height, width = block.shape[:2]
        result = np.zeros((-(-height // 2), -(-width // 2), 7), np.uint8)
        for y in range(result.shape[0]):
            for x in range(result.shape[1]):
                four = block[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(-1, 7)
                seen = four[four[:, 6] != 255].astype(float)
                result[y, x] = np.floor(seen.mean(0) + 0.5) if len(seen) else (0, 0, 0, 0, 0, 0, 255)
        return result

    @pytest.mark.parametrize(('height', 'width'), [(8, 12), (7, 5), (1, 1), (2, 9)])
    def test_halve(self, height, width):
        block = self.blocks(height, width)
        if height % 2 == width % 2 == 0:
            assert np.array_equal(halve(block), self.mean(block))
        padded = np.pad(block, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')
        assert np.array_equal(halve(block), self.mean(padded))

    @pytest.mark.parametrize(('height', 'width'), [(37, 70), (16, 16), (17, 5), (1, 40), (64, 64)])
    def test_tiles_equal_the_decimated_scene(self, tmp_path, height, width):
        image = self.blocks(height, width)
        image[16:32, 16:32] = (0, 0, 0, 0, 0, 0, 255)
        asked = []

        def read(rows, columns):
            asked.append((rows, columns))
            return image[slice(*rows), slice(*columns)]

        pyramid, steps = Pyramid(read, height, width, tmp_path / 'tiles'), []
        pyramid.build(lambda: steps.append(1))
        assert len(steps) == len(pyramid) == sum(level.rows * level.columns for level in pyramid.levels)
        assert (pyramid.levels[-1].height, pyramid.levels[-1].width) <= (16, 16)
        files = set()
        whole = image
        for index, (level, written) in enumerate(zip(pyramid.levels, pyramid.written, strict=True)):
            assert whole.shape[:2] == (level.height, level.width)
            for row, column in np.ndindex(written.shape):
                rows, columns = level.window(row, column)
                expected = whole[slice(*rows), slice(*columns)]
                script = tmp_path / f'tiles/probs/{index}/{row}_{column}.js'
                assert script.is_file() == written[row, column] == bool((expected[..., 6] != 255).any())
                if written[row, column]:
                    assert np.array_equal(decode(script, expected.shape[:2]), expected[..., 6])
                    names = [f'{kind}/{index}/{row}_{column}.{suffix}' for kind, suffix in
                             (('before', 'jpg'), ('after', 'jpg'), ('probs', 'js'))]  # fmt: skip
                    files.update(names)
            whole = halve(whole)  # tiles start at even pixels, so halving them is halving the whole
        assert {
            str(path.relative_to(tmp_path / 'tiles')) for path in tmp_path.rglob('*.*') if path.is_file()
        } == files
        if height > 16:
            assert not pyramid.written[0][1, 1] if width > 16 else True
        seen = np.zeros((height, width), int)
        for rows, columns in asked:
            assert rows[1] - rows[0] <= 16
            assert columns[1] - columns[0] <= 16
            seen[slice(*rows), slice(*columns)] += 1
        assert (seen == 1).all()

    def test_memory_does_not_depend_on_the_scene(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pyramid_module, 'TILE', 128)
        monkeypatch.setattr(pyramid_module, 'THREADS', 1)

        def read(rows, columns):
            return np.full((rows[1] - rows[0], columns[1] - columns[0], 7), 9, np.uint8)

        peaks = []
        for side in (129, 256, 768):  # the first one warms up
            tracemalloc.start()
            Pyramid(read, side, side, tmp_path / str(side)).build()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[2] < 1.15 * peaks[1]
        assert peaks[1] < 128 * 128 * 7 * 2 * 12  # about ten blocks of 16 bits

    def test_an_error_ends_the_work(self, tmp_path):
        def read(*_):
            raise UserError('gone')

        with pytest.raises(UserError, match='gone'):
            Pyramid(read, 300, 300, tmp_path / 'tiles').build()
