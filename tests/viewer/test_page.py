"""The page of one scene: its tiles, what it names, and what it escapes."""

import re

import cv2
import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
from made_up_view import FAKE, NODATA, decode, make_scene, manifest, write
from rasterio.transform import from_origin

from hsonet_mm.images import Reading, Stretch
from hsonet_mm.scenes.scene import SceneOptions, detect_scene
from hsonet_mm.viewer.page import ASSETS, asset, view_scene

pytestmark = pytest.mark.any_host


class TestView:
    def test_tiles_are_those_of_the_scene(self, scene):
        path, folder = scene
        with rasterio.open(path) as dataset:
            stored = dataset.read(1)
        assert set(np.unique(stored[NODATA[0] :, NODATA[1] :])) == {255}
        for row, column in ((0, 0), (0, 2), (1, 1)):
            window = np.s_[row * 512 : row * 512 + 512, column * 512 : column * 512 + 512]
            assert np.array_equal(
                decode(folder / f'tiles/probs/0/{row}_{column}.js', stored[window].shape), stored[window]
            )
            for name in ('before', 'after'):
                with rasterio.open(path.with_name(f'{name}.tif')) as dataset:
                    image = dataset.read().transpose(1, 2, 0)[window][..., ::-1]
                tile = cv2.imread(str(folder / f'tiles/{name}/0/{row}_{column}.jpg'))
                seen = stored[window] != 255
                assert tile.shape == image.shape
                assert np.abs(tile[seen].astype(int) - image[seen]).mean() < 4

    def test_page_names_what_is_there(self, scene):
        _, folder = scene
        page = manifest(folder)
        assert (page['width'], page['height'], page['threshold'], page['names']) == (
            1100,
            700,
            0.7,
            ['before', 'after'],
        )
        assert [(level['width'], level['height']) for level in page['levels']] == [
            (1100, 700),
            (550, 350),
            (275, 175),
        ]
        assert page['levels'][0]['written'] == '111110'  # the last tile is nodata
        assert page['metres'] == pytest.approx(0.5, rel=1e-3)
        assert page['transform'] == [0.5, 0, 500_000, 0, -0.5, 5_000_000]
        for kind, suffix in (('before', 'jpg'), ('after', 'jpg'), ('probs', 'js')):
            for index, level in enumerate(page['levels']):
                names = {
                    f'{n // level["columns"]}_{n % level["columns"]}.{suffix}'
                    for n, there in enumerate(level['written'])
                    if there == '1'
                }
                assert {file.name for file in (folder / 'tiles' / kind / str(index)).iterdir()} == names
        text = (folder / 'index.html').read_text()
        assert not re.search(
            r'https?:|//[a-z]+\.|fetch\(|XMLHttpRequest|import\(', text.replace("'use strict'", '')
        )
        assert 'fake at threshold 0.7' in text
        assert cv2.imread(str(folder / 'change.jpg')).shape == (175, 275, 3)

    def test_scripts_use_elements_that_exist(self):
        script = ''.join(asset(name) for name in ASSETS if name.endswith('.js'))
        used = set(re.findall(r"\$\('([\w-]+)'\)|(?<=toggle\()'([\w-]+)'", script))
        ids = re.findall(r'id="([\w-]+)"', asset('viewer.html.j2'))
        assert len(ids) == len(set(ids)) > 20
        assert {a or b for a, b in used if a or b} - {'hovered'} <= set(ids) | {'over'}

    def test_float32_sixteen_bits_and_another_grid(self, tmp_path):
        """Values are stretched and the second date is resampled as for the scene."""
        rng = np.random.default_rng(0)
        t1 = cv2.resize(rng.integers(500, 1500, (9, 9, 3), dtype=np.uint16), (120, 90)).transpose(2, 0, 1)
        t2 = t1[:, ::2, ::2] + 600
        before = write(tmp_path / 'before.tif', t1)
        after = write(tmp_path / 'after.tif', t2, transform=from_origin(500_000, 5_000_000, 1, 1))
        options = SceneOptions(
            tile=128, overlap=32, float32=True, reading=Reading(stretch=Stretch(400, 2400))
        )
        path = tmp_path / 'change.tif'
        result = detect_scene(FAKE, before, after, path, options)
        assert result.summary['after']['resampled']
        folder = view_scene(path).folder
        with rasterio.open(path) as dataset:
            values = dataset.read(1)
        assert values.dtype == np.float32
        stored = np.where(np.isnan(values), 255, np.rint(np.nan_to_num(values) * 250))
        assert np.array_equal(decode(folder / 'tiles/probs/0/0_0.js', stored.shape), stored)
        tile = cv2.imread(str(folder / 'tiles/before/0/0_0.jpg')).astype(float)
        expected = (t1.transpose(1, 2, 0)[..., ::-1] - 400.0) * 255 / 2000
        assert np.abs(tile - expected).mean() < 3
        tile = cv2.imread(str(folder / 'tiles/after/0/0_0.jpg')).astype(float)
        assert np.abs(tile[10:80, 10:110] - expected[10:80, 10:110] - 600 * 255 / 2000).mean() < 4
        assert '400,2400 became black and white' in (folder / 'index.html').read_text()

    def test_names_are_no_html(self, tmp_path):
        options = SceneOptions(tile=128, overlap=32, dates=('<i>A & B</script>', '$title'))
        path = make_scene(tmp_path, 90, 120, ((5, 5, 20, 20, 255),), options, hole=False)
        text = (view_scene(path).folder / 'index.html').read_text()
        assert '&lt;i&gt;A &amp; B&lt;/script&gt;' in text
        assert '<i>A' not in text
        assert manifest(tmp_path / 'change_view')['names'] == ['<i>A & B</script>', '$title']
