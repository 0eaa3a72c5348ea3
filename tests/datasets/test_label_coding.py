"""How the labels of a data set are coded where compression or other classes blur it."""

import io

import numpy as np
import pytest
from pair_files import CHANGED, SIZE, dataset, photo, save
from PIL import Image

from hsonet_mm.datasets import MultiImgLoadAnnotations, MultiImgLoadImageFromFile
from hsonet_mm.errors import UserError
from hsonet_mm.labels import RawLabel, classes_of, survey_labels


class TestLoadLabels:
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
