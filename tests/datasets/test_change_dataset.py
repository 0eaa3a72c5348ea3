"""Data set, loading and augmentation of image pairs: right results, and one sentence for every mistake."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hsonet_mm.config import expand_variables
from hsonet_mm.datasets import (
    ChangeDataset,
    MultiImgBalancedCrop,
    MultiImgLoadAnnotations,
    MultiImgLoadImageFromFile,
    MultiImgRandomRot90,
    MultiImgRandomScale,
)
from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.labels import RawLabel, classes_of, survey_labels

SIZE = (12, 16)
PREFIX = {'img_path_from': 'train/A', 'img_path_to': 'train/B', 'seg_map_path': 'train/label'}


def save(array: np.ndarray, path: Path, **kwargs) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **kwargs)
    return path


def photo(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002 (what the transforms draw from)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pairs, the second one in a folder of its own."""
    for number, stem in enumerate(('one', 'sub/two')):
        save(photo(number), tmp_path / f'train/A/{stem}.png')
        save(photo(number + 9), tmp_path / f'train/B/{stem}.png')
        save(np.eye(*SIZE, dtype=np.uint8) * 255, tmp_path / f'train/label/{stem}.png')
    return tmp_path


def dataset(root: Path | str, **kwargs) -> ChangeDataset:
    return ChangeDataset(**{'data_root': str(root), 'data_prefix': PREFIX, **kwargs})


class TestChangeDataset:
    def test_samples(self, root):
        data = dataset(root)
        assert len(data) == 2
        assert data.metainfo['classes'] == ('unchanged', 'changed')
        sample = data.get_data_info(1)
        assert sample['img_path'] == [str(root / 'train/A/sub/two.png'), str(root / 'train/B/sub/two.png')]
        assert sample['seg_map_path'] == str(root / 'train/label/sub/two.png')
        assert sample['format_seg_map'] == 'to_binary'
        assert sample['seg_fields'] == []
        assert sample['reduce_zero_label'] is False
        assert sample['label_map'] is None

    def test_the_suffix_may_differ_between_dates_and_label(self, root):
        (root / 'train/A/one.png').rename(root / 'train/A/one.TIF')
        (root / 'train/B/one.png').rename(root / 'train/B/one.jpeg')
        (root / 'train/label/one.png').rename(root / 'train/label/one.bmp')
        (root / 'train/A/one.tfw').write_text('not an image')
        sample = dataset(root).get_data_info(0)
        assert [Path(path).suffix for path in sample['img_path']] == ['.TIF', '.jpeg']
        assert sample['seg_map_path'].endswith('label/one.bmp')

    def test_a_suffix_restricts_and_is_only_taken_at_the_end(self, root):
        save(photo(), root / 'train/A/x.png.jpg')
        save(photo(), root / 'train/B/x.png.jpg')
        save(np.zeros(SIZE, np.uint8), root / 'train/label/x.png.png')
        assert len(dataset(root, img_suffix='.png')) == 2
        jpg = dataset(root, img_suffix='.jpg', seg_map_suffix='.png')
        assert jpg.get_data_info(0)['seg_map_path'].endswith('label/x.png.png')

    def test_a_suffix_may_be_written_large(self, root):
        for folder in PREFIX.values():
            (root / folder / 'one.png').rename(root / folder / 'one.PNG')
        assert len(dataset(root, img_suffix='.png', seg_map_suffix='.png')) == 2

    def test_annotation_file(self, root):
        (root / 'list.txt').write_text('sub/two.png\n\none\n')
        data = dataset(root, ann_file='list.txt')
        assert [Path(data.get_data_info(i)['img_path'][0]).stem for i in range(2)] == ['two', 'one']

    def test_without_labels_for_prediction(self, root):
        data = dataset(
            root, data_prefix={'img_path_from': 'train/A', 'img_path_to': 'train/B'}, test_mode=True
        )
        assert 'seg_map_path' not in data.get_data_info(0)

    def test_indices_and_reordered_classes(self, root):
        data = dataset(
            root,
            indices=1,
            metainfo={'classes': ('changed', 'unchanged')},
            pipeline=[MultiImgLoadImageFromFile(), MultiImgLoadAnnotations()],
        )
        assert len(data) == 1
        np.testing.assert_array_equal(data[0]['gt_seg_map'], 1 - np.eye(*SIZE))

    @pytest.mark.parametrize(
        ('value', 'written', 'path'),
        [
            ('/x', '${CD_ROOT}/levir', '/x/levir'),
            ('/x', '${CD_ROOT:-data/LEVIR-CD}', '/x'),
            (None, '${CD_ROOT:-data/LEVIR-CD}', 'data/LEVIR-CD'),
            ('', '${CD_ROOT:-data/LEVIR-CD}', 'data/LEVIR-CD'),
            (None, 'plain/$HOME', 'plain/$HOME'),
        ],
    )
    def test_environment_variables(self, monkeypatch, value, written, path):
        monkeypatch.delenv('CD_ROOT', raising=False)
        if value is not None:
            monkeypatch.setenv('CD_ROOT', value)
        assert expand_variables(written) == path

    def test_data_root_from_the_environment(self, root, monkeypatch):
        monkeypatch.setenv('CD_ROOT', str(root))
        assert len(dataset('${CD_ROOT:-nowhere}')) == 2

    def test_unset_variable(self, monkeypatch):
        monkeypatch.delenv('CD_ROOT', raising=False)
        with pytest.raises(UserError, match=r'environment variable CD_ROOT.*--data-root'):
            dataset('${CD_ROOT}')

    def test_missing_root_names_the_ways_to_give_it(self, tmp_path, monkeypatch):
        monkeypatch.delenv('CD_ROOT', raising=False)
        with pytest.raises(UserError, match=r'nowhere does not exist.*--data-root.*CD_ROOT'):
            dataset(f'${{CD_ROOT:-{tmp_path}/nowhere}}')

    def test_missing_folder(self, root):
        with pytest.raises(UserError, match=r'val/B does not exist.*img_path_to'):
            dataset(root, data_prefix={**PREFIX, 'img_path_to': 'val/B'})

    def test_missing_prefix(self, root):
        with pytest.raises(UserError, match=r'^invalid data_prefix without img_path_to'):
            dataset(root, data_prefix={'img_path_from': 'train/A'})

    def test_empty_split(self, tmp_path):
        for folder in PREFIX.values():
            (tmp_path / folder).mkdir(parents=True)
        with pytest.raises(UserError, match=r'train/A contains no image'):
            dataset(tmp_path)

    @pytest.mark.parametrize(
        ('folder', 'what'),
        [('A', 'image of the first date'), ('B', 'image of the second date'), ('label', 'label')],
    )
    def test_incomplete_pair(self, root, folder, what):
        (root / f'train/{folder}/one.png').unlink()
        with pytest.raises(UserError, match=f'1 of 2 pairs have no {what} in .*train/{folder} .one.'):
            dataset(root)

    def test_label_alone(self, root):
        (root / 'train/A/one.png').unlink()
        (root / 'train/B/one.png').unlink()
        with pytest.raises(
            UserError, match=r'1 of 2 pairs have no image of the first date in .*train/A .one.'
        ):
            dataset(root)

    def test_many_incomplete_pairs_are_not_all_listed(self, root):
        for number in range(5):
            save(photo(), root / f'train/A/extra{number}.png')
        with pytest.raises(UserError, match=r'extra0, extra1, extra2 and 2 more'):
            dataset(root)

    def test_two_files_of_one_name(self, root):
        save(photo(), root / 'train/A/one.jpg')
        with pytest.raises(UserError, match=r'one\.jpg and .*one\.png have one name'):
            dataset(root)

    def test_annotation_file_missing_or_empty_or_wrong(self, root):
        with pytest.raises(UserError, match=r'list.txt does not exist'):
            dataset(root, ann_file='list.txt')
        (root / 'list.txt').write_text('\n')
        with pytest.raises(UserError, match=r'list.txt is empty'):
            dataset(root, ann_file='list.txt')
        (root / 'list.txt').write_text('three\n')
        with pytest.raises(UserError, match=r'first date.*three'):
            dataset(root, ann_file='list.txt')
        (root / 'list.txt').write_text('one\nsub/two\none.png\n')
        with pytest.raises(UserError, match=r'list.txt names some scenes more than once \(one\)'):
            dataset(root, ann_file='list.txt')


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


CHANGED = np.zeros(SIZE, bool)
CHANGED[2:6, 3:9] = True


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

    def test_faint_noise_in_a_jpeg_is_not_change_where_others_reach_white(self, tmp_path):
        values = np.zeros(SIZE, np.uint8)
        values[0, :8] = 1
        for folder in ('train/A', 'train/B'):
            for name in ('x', 'y'):
                save(photo(), tmp_path / folder / f'{name}.png')
        save(values, tmp_path / 'train/label/x.jpg', quality=100)
        assert np.asarray(Image.open(tmp_path / 'train/label/x.jpg')).max() == 1
        pipeline = [MultiImgLoadImageFromFile(), MultiImgLoadAnnotations()]
        save(np.zeros(SIZE, np.uint8), tmp_path / 'train/label/y.png')
        with pytest.raises(UserError, match=r'x\.jpg contains the values 0, 1'):
            dataset(tmp_path, pipeline=pipeline)
        save(CHANGED * np.uint8(255), tmp_path / 'train/label/y.png')
        first, second = dataset(tmp_path, pipeline=pipeline)
        assert not first['gt_seg_map'].any()
        np.testing.assert_array_equal(second['gt_seg_map'], CHANGED)

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

    @pytest.mark.parametrize(
        'shares',
        [
            {1: 0.3, 2: 0.003},
            {1: 0.2, 2: 0.0002, 255: 0.3},
            {1: 0.7, 255: 0.3},
            {1: 0.01, 2: 0.01, 3: 0.01, 255: 0.2},
        ],
        ids=[
            'a rare third class',
            'ignored pixels and a stray value',
            'all changed or ignored',
            'four classes',
        ],
    )
    @pytest.mark.parametrize('suffix', ['png', 'jpg'])
    def test_classes_are_not_taken_for_noise(self, shares, suffix):
        counts = [round(share * 65536) for share in shares.values()]
        array = np.repeat([0, *shares], [65536 - sum(counts), *counts]).astype(np.uint8).reshape(256, 256)
        survey = survey_labels({f'x.{suffix}': 'train'}, lambda _: RawLabel(array, exact=suffix != 'jpg'))
        with pytest.raises(UserError, match=rf'x.{suffix} contains .*: write 0 for unchanged'):
            survey.require()

    @pytest.mark.parametrize('values', [(1, 255), (128, 255), (85, 170, 255), (254, 255)])
    def test_rare_values_of_a_png_are_classes(self, values):
        """So rare that their share alone would let them pass for noise."""
        array = np.zeros((256, 256), np.uint8)
        for row, value in enumerate(values):
            array[8 * row, :99] = value
        labels = {'x.png': array, 'y.png': np.zeros_like(array)}
        survey = survey_labels(dict.fromkeys(labels, 'train'), lambda path: RawLabel(labels[path]))
        held = ', '.join(map(str, (0, *values)))
        assert list(survey.problems) == ['x.png']
        assert f'x.png contains the values {held}: write 0 for unchanged' in survey.problems['x.png']

    @pytest.mark.parametrize('quality', [75, 95])
    def test_few_pixels_of_noise_among_noisy_labels(self, quality):
        noisy = np.zeros((256, 256), np.uint8)
        noisy[40:99, 50:120] = 255
        stream = io.BytesIO()
        Image.fromarray(noisy).save(stream, 'JPEG', quality=quality)
        values = np.asarray(Image.open(stream))
        corner = np.zeros_like(noisy)
        corner[0, :3], corner[0, 3] = 1, 255
        labels = {'x.png': values, 'y.png': values, 'z.png': corner}
        coding = (
            survey_labels(dict.fromkeys(labels, 'train'), lambda path: RawLabel(labels[path]))
            .require()
            .coding
        )
        assert coding.changed == (255,)
        assert classes_of(RawLabel(corner), coding, 'z.png').sum() == 1

    @pytest.mark.parametrize('quality', [30, 75, 95])
    @pytest.mark.parametrize('size', [1, 3, 9, 100])
    def test_compressed_masks_are_taken_as_such(self, tmp_path, quality, size):
        """Single pixels too, whose noise is nearly all on the dark side."""
        changed = np.zeros((256, 256), bool)
        for top in range(5, 256, 120):
            changed[top : top + size, top : top + size] = True
        path = save(changed * np.uint8(255), tmp_path / 'x.jpg', quality=quality)
        label = RawLabel(np.asarray(Image.open(path)), exact=False)
        other = RawLabel(
            changed * np.uint8(255)
        )  # in which something reaches 128, if nothing does in the first
        labels = {'x.jpg': label, 'y.png': other}
        coding = survey_labels(dict.fromkeys(labels, 'train'), labels.__getitem__).require().coding
        assert coding.changed == (255,)
        assert (classes_of(label, coding, 'x.jpg') != changed).mean() < 0.001

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


def coordinates(rows: int = 20, columns: int = 30) -> dict:
    """A sample whose pixels hold their row and column; the label is changed where both are even."""
    r, c = np.mgrid[:rows, :columns].astype(np.uint8)
    t1 = np.stack([r, c, r * 0], axis=2)
    return {
        'img': [t1, t1 + np.uint8(100)],
        'img_path': ['a/x.png', 'b/x.png'],
        'gt_seg_map': ((r % 2 == 0) & (c % 2 == 0)).astype(np.uint8),
        'seg_fields': ['gt_seg_map'],
        'img_shape': (rows, columns),
    }


def assert_aligned(results: dict) -> None:
    """The same pixels in both dates and the label."""
    t1, t2 = results['img']
    np.testing.assert_array_equal(t2, t1 + np.uint8(100))
    np.testing.assert_array_equal(results['gt_seg_map'], (t1[..., 0] % 2 == 0) & (t1[..., 1] % 2 == 0))
    assert results['img_shape'] == t1.shape[:2] == results['gt_seg_map'].shape


class TestTransforms:
    def test_crop(self):
        for _ in range(20):
            results = MultiImgBalancedCrop((7, 9)).transform(coordinates())
            assert_aligned(results)
            assert results['img_shape'] == (7, 9)
            t1 = results['img'][0].astype(int)
            assert (np.diff(t1[..., 0], axis=0) == 1).all()
            assert (np.diff(t1[..., 1], axis=1) == 1).all()

    @pytest.mark.parametrize('pixel', [(0, 0), (10, 17), (19, 29)])
    def test_crop_holds_the_changed_pixel_anywhere(self, pixel):
        offsets = set()
        for _ in range(200):
            sample = coordinates()
            sample['gt_seg_map'] = np.zeros((20, 30), np.uint8)
            sample['gt_seg_map'][pixel] = 1
            results = MultiImgBalancedCrop(4, changed_prob=1.0).transform(sample)
            (offset,) = np.argwhere(results['gt_seg_map'])
            assert tuple(results['img'][0][tuple(offset)][:2]) == pixel
            offsets.add(tuple(offset.tolist()))
        assert len(offsets) == (16 if pixel == (10, 17) else 1)

    def test_crop_share_of_change(self):
        hits = 0
        for _ in range(300):
            sample = coordinates(64, 64)
            sample['gt_seg_map'] = np.zeros((64, 64), np.uint8)
            sample['gt_seg_map'][40, 40] = 1
            sample['gt_seg_map'][:, 0] = 255
            hits += (MultiImgBalancedCrop(8, changed_prob=0.5).transform(sample)['gt_seg_map'] == 1).any()
        assert 0.42 < hits / 300 < 0.62  # half, and a few by chance

    def test_crop_without_change_or_label(self):
        sample = coordinates()
        sample['gt_seg_map'][:] = 0
        assert MultiImgBalancedCrop(20, changed_prob=1.0).transform(sample)['img_shape'] == (20, 20)
        assert MultiImgBalancedCrop(5).transform({**coordinates(), 'seg_fields': []})['img_shape'] == (5, 5)
        sample = {key: value for key, value in coordinates().items() if not key.startswith(('gt', 'seg'))}
        assert MultiImgBalancedCrop(5, changed_prob=1.0).transform(sample)['img_shape'] == (5, 5)

    def test_crop_larger_than_the_image(self):
        with pytest.raises(UserError, match=r'crop of 21 x 21 .*image a/x.png of 20 x 30'):
            MultiImgBalancedCrop(21).transform(coordinates())

    @pytest.mark.parametrize('kwargs', [{'crop_size': 0}, {'crop_size': 4, 'changed_prob': 1.5}])
    def test_crop_arguments(self, kwargs):
        with pytest.raises(UserError, match='MultiImgBalancedCrop'):
            MultiImgBalancedCrop(**kwargs)

    def test_rotations(self):
        seen = set()
        for _ in range(60):
            results = MultiImgRandomRot90(prob=0.75, transpose_prob=0.5).transform(coordinates())
            assert_aligned(results)
            seen.add(results['img'][0][:2, :2, :2].tobytes())
        assert len(seen) == 8

    def test_rotation_probabilities(self):
        np.testing.assert_array_equal(
            MultiImgRandomRot90(prob=0, transpose_prob=1).transform(coordinates())['img'][0],
            coordinates()['img'][0].swapaxes(0, 1),
        )
        corners = {
            MultiImgRandomRot90(prob=1).transform(coordinates())['img'][0][0, 0, :2].tobytes()
            for _ in range(30)
        }
        assert corners == {bytes([0, 29]), bytes([19, 29]), bytes([19, 0])}
        with pytest.raises(UserError, match='between 0 and 1'):
            MultiImgRandomRot90(prob=2)

    def test_scale(self):
        rows = set()
        for _ in range(20):
            sample = coordinates(40, 60)
            sample['gt_seg_map'] = (np.mgrid[:40, :60][0] >= 20).astype(np.uint8)
            sample['img'] = [
                np.repeat(sample['gt_seg_map'][..., None] * np.uint8(value), 3, 2) for value in (100, 200)
            ]
            results = MultiImgRandomScale((0.5, 2.0)).transform(sample)
            t1, t2 = results['img']
            assert t1.shape[:2] == t2.shape[:2] == results['gt_seg_map'].shape == results['img_shape']
            assert abs(t1.shape[1] / t1.shape[0] - 1.5) < 0.06
            assert set(np.unique(results['gt_seg_map'])) == {0, 1}
            np.testing.assert_allclose(t1[..., 0] / 100, t2[..., 0] / 200, atol=0.01)
            assert np.mean((t1[..., 0] >= 50) == results['gt_seg_map']) > 0.95
            rows.add(t1.shape[0])
        assert 20 <= min(rows) < 30  # of 40 rows, by a factor of 0.5 to 2
        assert 50 < max(rows) <= 80

    @pytest.mark.parametrize('factor', [0.3, 0.55, 0.73, 1.37, 2, 2.6])
    def test_scale_leaves_the_label_where_the_image_is(self, factor):
        rows, columns = np.mgrid[:90, :120]
        disc = (np.hypot(rows - 40, columns - 70) <= 30).astype(np.uint8)
        sample = {'img': [np.repeat(disc[..., None] * np.uint8(200), 3, 2)] * 2}
        sample |= {'gt_seg_map': disc, 'seg_fields': ['gt_seg_map']}
        results = MultiImgRandomScale((factor, factor)).transform(sample)
        drawn, label = results['img'][0][..., 0] >= 100, results['gt_seg_map']
        assert set(np.unique(label)) == {0, 1}
        np.testing.assert_allclose(np.argwhere(label).mean(0), np.argwhere(drawn).mean(0), atol=0.1)

    def test_scale_leaves_room_for_the_crop(self):
        assert MultiImgRandomScale((0.1, 0.1), min_size=16).transform(coordinates())['img_shape'] == (16, 24)
        assert MultiImgRandomScale((0.1, 0.1), min_size=99).transform(coordinates())['img_shape'] == (20, 30)
        with pytest.raises(UserError, match='smallest <= largest'):
            MultiImgRandomScale((2.0, 1.0))

    def test_they_say_what_they_are(self):
        assert repr(MultiImgBalancedCrop(4)) == 'MultiImgBalancedCrop(crop_size=(4, 4), changed_prob=0.5)'
        assert repr(MultiImgRandomRot90()) == 'MultiImgRandomRot90(prob=0.75, transpose_prob=0.0)'
        assert repr(MultiImgRandomScale((1, 2))) == 'MultiImgRandomScale(scale_range=(1, 2), min_size=1)'
