"""Loading of image pairs and labels: right results, and one sentence for every mistake."""

from pathlib import Path

import numpy as np
import pytest
from pair_files import CHANGED, SIZE, photo, save
from PIL import Image

from hsonet_mm.datasets import MultiImgLoadAnnotations, MultiImgLoadImageFromFile
from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading


def load(*paths: Path, **kwargs) -> dict:
    return MultiImgLoadImageFromFile(**kwargs).transform({'img_path': [str(path) for path in paths]})


class TestLoadImages:
    def test_both_dates_in_bgr(self, tmp_path):
        t1, t2 = photo(1), photo(2)
        results = load(save(t1, tmp_path / 'a.png'), save(t2, tmp_path / 'b.tif', compression='tiff_lzw'))
        np.testing.assert_array_equal(results['img'][0], t1[..., ::-1])
        np.testing.assert_array_equal(results['img'][1], t2[..., ::-1])
        assert results['img'][0].dtype == np.uint8
        assert results['img_shape'] == results['ori_shape'] == SIZE

    def test_float(self, tmp_path):
        path = save(photo(), tmp_path / 'a.bmp')
        assert load(path, path, to_float32=True)['img'][0].dtype == np.float32

    @pytest.mark.parametrize('mode', ['L', '1', 'P', 'RGBA', 'LA'])
    def test_other_modes_become_three_channels(self, tmp_path, mode):
        image = Image.fromarray(photo()[..., 0]).convert('RGB' if mode == 'P' else 'L').convert(mode)
        path = tmp_path / 'a.png'
        image.save(path)
        expected = np.asarray(image.convert('RGB'))[..., ::-1]
        np.testing.assert_array_equal(load(path, path)['img'][1], expected)

    @pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif'])
    def test_truncated(self, tmp_path, suffix):
        good = save(photo(size=(64, 64)), tmp_path / f'good{suffix}')
        bad = tmp_path / f'bad{suffix}'
        bad.write_bytes(good.read_bytes()[: good.stat().st_size * 2 // 3])
        with pytest.raises(UserError, match=rf'bad\{suffix} cannot be read'):
            load(good, bad)

    def test_not_an_image_and_missing(self, tmp_path):
        good, text = save(photo(), tmp_path / 'good.png'), tmp_path / 'text.png'
        text.write_text('hello')
        with pytest.raises(UserError, match=r'text.png cannot be read'):
            load(good, text)
        with pytest.raises(UserError, match=r'gone.png does not exist'):
            load(good, tmp_path / 'gone.png')

    def test_sizes_differ(self, tmp_path):
        with pytest.raises(UserError, match=r'a.png has 12 x 16 pixels.*b.png has 12 x 17'):
            load(save(photo(), tmp_path / 'a.png'), save(photo(size=(12, 17)), tmp_path / 'b.png'))

    def test_other_depths_than_the_first_date(self, tmp_path):
        good = save(photo(), tmp_path / 'good.png')
        deep_colours = tmp_path / 'deep.png'
        deep_colours.write_bytes(png_16_bit_rgb())
        for path in (
            save(np.full(SIZE, 4000, np.uint16), tmp_path / 'deep_grey.tif'),
            save(np.full(SIZE, 0.5, np.float32), tmp_path / 'float.tif'),
            deep_colours,
        ):
            with pytest.raises(UserError, match=rf'good\.png has uint8 and .*{path.name} .* values'):
                load(good, path)

    def test_no_data_is_ignored_in_the_label(self, tmp_path):
        """What is transparent in one date, or nodata in the other one, is 0 in both and 255 in the label."""
        alpha = np.full((*SIZE, 1), 255, np.uint8)
        alpha[:10] = 0
        declared = photo()
        declared[:, :7] = 9
        paths = [
            save(np.concatenate([photo(), alpha], axis=2), tmp_path / 'a.png'),
            save(declared, tmp_path / 'b.png'),
        ]
        label = save(np.full(SIZE, 255, np.uint8), tmp_path / 'label.png')
        results = {'img_path': [str(path) for path in paths], 'reading': Reading.make(nodata=9)}
        results |= {'seg_map_path': str(label), 'seg_fields': []}
        results = MultiImgLoadAnnotations()(MultiImgLoadImageFromFile()(results))
        invalid = np.zeros(SIZE, bool)
        invalid[:10] = invalid[:, :7] = True
        assert np.array_equal(results['gt_seg_map'], np.where(invalid, 255, 1))
        for image in results['img']:
            assert not image[invalid].any()
            assert np.array_equal(image[~invalid], photo()[~invalid][:, ::-1])


def png_16_bit_rgb() -> bytes:
    """A PNG that Pillow reads as 8-bit without a word."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    rows = b''.join(b'\0' + bytes(6 * 16) for _ in range(12))
    header = struct.pack('>IIBBBBB', 16, 12, 16, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND', b'')
    )


def label(path: Path, **kwargs) -> np.ndarray:
    results = {'seg_map_path': str(path), 'seg_fields': [], 'ori_shape': SIZE}
    results = MultiImgLoadAnnotations(**kwargs).transform(results)
    assert results['seg_fields'] == ['gt_seg_map']
    assert results['gt_seg_map'].dtype == np.uint8
    return results['gt_seg_map']


class TestLoadLabels:
    @pytest.mark.parametrize('high', [1, 255])
    @pytest.mark.parametrize('bands', [1, 3, 4])
    def test_two_values(self, tmp_path, high, bands):
        values = (CHANGED * high).astype(np.uint8)
        if bands > 1:
            values = np.repeat(values[..., None], bands, axis=2)
        if bands == 4:
            values[..., 3] = 255
        np.testing.assert_array_equal(label(save(values, tmp_path / 'x.png')), CHANGED)

    @pytest.mark.parametrize('value', [0, 1, 255])
    def test_one_value(self, tmp_path, value):
        assert (label(save(np.full(SIZE, value, np.uint8), tmp_path / 'x.png')) == (value > 0)).all()

    @pytest.mark.parametrize('dtype', [np.uint16, np.int32, np.float32])
    def test_wide_types_with_small_values(self, tmp_path, dtype):
        np.testing.assert_array_equal(label(save(CHANGED.astype(dtype), tmp_path / 'x.tif')), CHANGED)

    @pytest.mark.parametrize('palette', [[0, 0, 0, 255, 255, 255], [0, 0, 0, 128, 0, 0]])
    def test_palette(self, tmp_path, palette):
        image = Image.frombytes('P', SIZE[::-1], CHANGED.astype(np.uint8).tobytes())
        image.putpalette(palette)
        image.save(tmp_path / 'x.png')
        np.testing.assert_array_equal(label(tmp_path / 'x.png'), CHANGED)

    @pytest.mark.parametrize('mode', ['1', 'LA'])
    def test_other_modes(self, tmp_path, mode):
        Image.fromarray(CHANGED.astype(np.uint8) * 255).convert(mode).save(tmp_path / 'x.png')
        np.testing.assert_array_equal(label(tmp_path / 'x.png'), CHANGED)

    def test_jpeg_noise_is_cut_with_one_warning(self, tmp_path, monkeypatch):
        messages = []
        monkeypatch.setattr('hsonet_mm.datasets.loading.print_log', lambda text, **_: messages.append(text))
        monkeypatch.setattr('hsonet_mm.datasets.loading._told', set())
        path = save(CHANGED * np.uint8(255), tmp_path / 'x.jpg', quality=75)
        assert len(np.unique(np.asarray(Image.open(path)))) > 2
        np.testing.assert_array_equal(label(path), CHANGED)
        noisy = save(np.asarray(Image.open(path)), tmp_path / 'x.png')
        np.testing.assert_array_equal(label(noisy), CHANGED)
        assert len(messages) == 1
        assert 'x.jpg' in messages[0]

    def test_colour_jpeg_of_a_mask(self, tmp_path):
        path = save(np.repeat(CHANGED[..., None] * np.uint8(255), 3, axis=2), tmp_path / 'x.jpg', quality=95)
        np.testing.assert_array_equal(label(path), CHANGED)

    @pytest.mark.parametrize('values', [{0, 1, 7}, {0, 255, 7}, {0, 255}])
    def test_ignored_value(self, tmp_path, values):
        ignore = 7 if 7 in values else 255
        array = CHANGED * np.uint8(1 if values == {0, 255} else max(values - {7}))
        array[-1] = ignore
        expected = CHANGED.astype(np.uint8)
        expected[-1] = 255
        path = save(array, tmp_path / 'x.png')
        np.testing.assert_array_equal(label(path, ignore_value=ignore), expected)

    def test_zero_one_and_255_need_a_decision(self, tmp_path):
        array = CHANGED.astype(np.uint8)
        array[-1] = 255
        with pytest.raises(UserError, match=r'x.png contains the values 0, 1, 255: .*ignore_value'):
            label(save(array, tmp_path / 'x.png'))

    def test_not_a_change_label(self, tmp_path):
        grey, classes = photo()[..., 0], np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE) % 5
        for array in (grey, classes):
            with pytest.raises(
                UserError, match=r'x.png contains the values 0, 1, 2, .*: write 0 for unchanged'
            ):
                label(save(array, tmp_path / 'x.png'))
        with pytest.raises(UserError, match=r'x.png is a colour image'):
            label(save(photo(), tmp_path / 'x.png'))
        with pytest.raises(
            UserError, match=r'x.tif contains values from 0 to 65535: write 0 .*--changed-values'
        ):
            label(save(CHANGED * np.uint16(65535), tmp_path / 'x.tif'))
        with pytest.raises(UserError, match=r'contains values from 0 to 0\.5'):
            label(save(CHANGED * np.float32(0.5), tmp_path / 'x.tif'))

    def test_size_and_truncation(self, tmp_path):
        with pytest.raises(UserError, match=r'x.png has 5 x 4 pixels.*12 x 16'):
            label(save(np.zeros((5, 4), np.uint8), tmp_path / 'x.png'))
        path = save(photo()[..., 0], tmp_path / 'y.png')
        path.write_bytes(path.read_bytes()[:150])
        with pytest.raises(UserError, match=r'y.png cannot be read'):
            label(path)

    def test_zero_label_cannot_be_reduced(self):
        with pytest.raises(UserError, match='reduce_zero_label'):
            MultiImgLoadAnnotations(reduce_zero_label=True)
