"""A model over tiles: against the whole image at once, and several stages at the same time."""

import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers import fake_detector

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
import torch
from made_up_scene import SMALL, make_pair, probs_of, read_all, replaced, write_raster

from hsonet_mm.geo.headers import read_info
from hsonet_mm.geo.rasters import ScenePair
from hsonet_mm.scenes import pipeline
from hsonet_mm.scenes.scene import detect_scene
from hsonet_mm.windows import Window, default_window

pytestmark = pytest.mark.any_host


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


class TestNodata:
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
