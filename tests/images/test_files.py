"""Decoding of files: orientations, modes and depths, and what is no image or several."""

import errno
import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasters import GRID, save_turned, texture, write_tiff

from hsonet_mm.errors import UserError
from hsonet_mm.geo.headers import read_info
from hsonet_mm.images import Reading, image_size, read_pixels, read_raster

pytestmark = pytest.mark.any_host


class TestOrientation:
    @pytest.mark.parametrize('orientation', range(1, 9))
    @pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif'])
    def test_is_applied(self, tmp_path, orientation, suffix):
        """Blocks, which a JPEG keeps, of other colours at each corner."""
        image = np.zeros((32, 48, 3), np.uint8)
        image[:16, :16], image[:16, 16:], image[16:, :16] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
        path = tmp_path / f'a.{suffix}'
        save_turned(path, image, orientation)
        values = read_pixels(str(path)).values
        assert values.shape == image.shape
        assert np.abs(values.astype(int) - image).max() <= 4

    def test_georeference_overrules_the_tag(self, tmp_path):
        """GDAL and every GIS place the pixels of a GeoTIFF as they are stored."""
        path = tmp_path / 'a.tif'
        Image.fromarray(texture()).save(path, tiffinfo={274: 3})
        assert np.array_equal(read_pixels(str(path)).values, texture()[::-1, ::-1])
        with rasterio.open(path, 'r+') as dataset:
            dataset.crs, dataset.transform = 'EPSG:32633', GRID
        assert np.array_equal(read_pixels(str(path)).values, texture())


def test_without_permission(tmp_path, monkeypatch):
    def refuse(self, *_):
        raise PermissionError(errno.EACCES, 'Permission denied', str(self))

    path = write_tiff(tmp_path / 'a.tif', texture())
    monkeypatch.setattr('pathlib.Path.open', refuse)
    sentence = rf'^no permission to read {path}: correct its permissions, or give another file$'
    with pytest.raises(UserError, match=sentence):
        read_pixels(path)
    with pytest.raises(UserError, match=sentence):
        read_info(tmp_path / 'a.tif')


class TestBands:
    def test_16_bit_colours_of_a_png_are_not_cut_to_8(self, tmp_path):
        import cv2

        values = texture().astype(np.uint16) * 100 + 37
        cv2.imwrite(str(tmp_path / 'a.png'), values[..., ::-1])
        raster = read_raster(str(tmp_path / 'a.png'))
        assert np.array_equal(raster.values, values)

    @pytest.mark.parametrize('mode', ['CMYK', 'L', 'P', '1', 'LA', 'YCbCr', 'LAB', 'I;16', 'F'])
    @pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp', 'gif', 'bmp'])
    def test_every_mode_of_pillow(self, tmp_path, mode, suffix):
        image = Image.fromarray(texture()).convert('L' if mode in ('I;16', 'F') else mode)
        if mode in ('I;16', 'F'):
            image = Image.fromarray(np.asarray(image).astype('uint16' if mode == 'I;16' else 'float32'))
        path = str(tmp_path / f'a.{suffix}')
        try:
            image.save(path)
        except (OSError, ValueError, KeyError):
            pytest.skip('Pillow does not write that')
        pixels = read_pixels(path)
        assert pixels.values.shape == (48, 64, 3)
        assert pixels.values.dtype == np.uint8
        if mode in ('L', 'P', 'LA') and suffix in ('png', 'tif'):
            assert np.array_equal(pixels.values, np.asarray(image.convert('RGB')))
        if mode == 'CMYK' and suffix != 'webp':  # by the definition, without a profile
            expected = np.asarray(image.convert('RGB')).astype(int)
            assert np.abs(pixels.values - expected).mean() < 12


def test_wrong_bands_of_a_png_are_told_as_such(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(
        UserError, match=r'^\S+a\.png has 3 bands of uint8, so --bands 4,3,2 cannot be read: give'
    ):
        read_pixels(str(tmp_path / 'a.png'), Reading.make(bands='4,3,2'))


@pytest.mark.parametrize('name', ['a.tif', 'a.gif', 'a.webp', 'a.png'])
def test_a_file_of_several_images_is_refused(tmp_path, name):
    """Bands are often written as pages; the first one alone would be read as a grey image."""
    bands = [Image.fromarray(np.full((4, 4), 40 * number, np.uint8)) for number in range(4)]
    bands[0].save(tmp_path / name, save_all=True, append_images=bands[1:])
    for every in (False, True):
        with pytest.raises(UserError, match=r'contains 4 (rasters|images)'):
            read_raster(str(tmp_path / name), every=every)


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / 'a.png')
    with pytest.raises(UserError, match=r'a\.png is a folder, a pipe or a device, not an image file'):
        read_pixels(str(tmp_path / 'a.png'))


def test_a_file_with_overviews_and_a_mask_is_one_image(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = np.arange(64)[:, None] >= np.full((1, 64), 9)
    write_tiff(tmp_path / 'a.tif', image, mask=mask)
    with rasterio.open(tmp_path / 'a.tif', 'r+') as dataset:
        dataset.build_overviews([2, 4])
    raster = read_raster(str(tmp_path / 'a.tif'))
    np.testing.assert_array_equal(raster.values, image)
    np.testing.assert_array_equal(raster.mask, mask)


def test_threads_do_not_show_each_other_the_warnings_of_rasterio(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.int32)).save(tmp_path / 'a.tif')
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        warnings.simplefilter('error')
        for raster in pool.map(read_raster, [str(tmp_path / 'a.tif')] * 400):
            assert raster.place is None


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_an_image_beyond_the_limit_is_refused(tmp_path, monkeypatch, suffix):
    path = str(tmp_path / f'x{suffix}')
    Image.new('RGB', (64, 64)).save(path)
    monkeypatch.setattr('hsonet_mm.images.raster.MAX_PIXELS', 64 * 64 - 1)
    with pytest.raises(UserError, match=rf'x{suffix} has more than 4095 pixels: cut'):
        read_raster(path)
    monkeypatch.setattr('hsonet_mm.images.raster.MAX_PIXELS', 64 * 64)
    assert read_raster(path).values.shape == (64, 64, 3)


def test_the_limit_of_pillow_does_not_matter_and_stays(tmp_path, monkeypatch):
    path = tmp_path / 'x.png'
    Image.new('RGB', (64, 64)).save(path)
    for limit in (100, 3000):  # Pillow refuses above twice this, and warns above it
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        with path.open('rb') as stream, warnings.catch_warnings():
            warnings.simplefilter('error')
            assert read_raster(str(path)).values.shape == (64, 64, 3)
            assert image_size(stream) == (64, 64)
        assert limit == Image.MAX_IMAGE_PIXELS
