"""Labels of a source: masks of any coding become 0 and 255, or are told."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('rasterio')

from made_up_sources import add_scene, mask, picture, read, save

from hsonet_mm.datasets import ChangeDataset, MultiImgLoadAnnotations, MultiImgLoadImageFromFile
from hsonet_mm.errors import UserError
from hsonet_mm.preparation.prepare import PrepareOptions, prepare_dataset

pytestmark = pytest.mark.any_host


def jpeg_label(path):
    save(path, mask(3), quality=40)


def prepared_label(tmp_path, write, **options):
    add_scene(tmp_path / 's/train', 'x', 3)
    (tmp_path / 's/train/label/x.png').unlink()
    write(tmp_path / 's/train/label')
    prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(64, **options))
    return read(tmp_path / 'out/train/label/x.png')


def palette(colours):
    def write(folder):
        image = Image.fromarray(mask(3, high=1), mode='P')
        image.putpalette(colours)
        image.save(folder / 'x.png')

    return write


@pytest.mark.parametrize(
    'write',
    [
        lambda folder: save(folder / 'x.png', mask(3, high=1)),
        lambda folder: save(folder / 'x.png', mask(3)),
        lambda folder: save(folder / 'x.png', mask(3) > 0),
        lambda folder: save(folder / 'x.tif', mask(3)),
        lambda folder: save(folder / 'x.png', np.repeat(mask(3)[..., None], 3, 2)),
        palette([0, 0, 0, 255, 255, 255]),
        palette([0, 0, 0, 200, 20, 20]),
    ],
    ids=['0/1', '0/255', '1 bit', 'tif', 'three equal bands', 'grey palette', 'colour palette'],
)
def test_masks_become_0_and_255(tmp_path, write):
    assert np.array_equal(prepared_label(tmp_path, write), mask(3))


def test_noisy_mask_is_cut_in_the_middle(tmp_path):
    label = prepared_label(tmp_path, lambda folder: jpeg_label(folder / 'x.jpg'))
    assert set(np.unique(label)) == {0, 255}
    assert (label != mask(3)).mean() < 0.02


def test_faint_traces_are_never_taken_for_no_change_without_a_word(tmp_path):
    values = np.zeros((64, 64), np.uint8)
    values[0, :20] = 3
    with pytest.raises(UserError, match=r'x\.png contains the values 0, 3'):
        prepared_label(tmp_path, lambda folder: save(folder / 'x.png', values))
    prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(64, changed_values=(255,)))
    assert not read(tmp_path / 'out/train/label/x.png').any()
    values[:] = 0
    values[:8, :16] = 1  # 3 %
    save(tmp_path / 'j/train/label/y.jpg', values, quality=100)
    assert np.array_equal(read(tmp_path / 'j/train/label/y.jpg'), values)
    add_scene(tmp_path / 'j/train', 'y', 1)
    (tmp_path / 'j/train/label/y.png').unlink()
    with pytest.raises(UserError, match=r'y\.jpg contains the values 0, 1'):
        prepare_dataset(tmp_path / 'j', tmp_path / 'out_j', PrepareOptions(64))


@pytest.mark.parametrize('value', [76, 100, 127])
def test_masks_with_other_values_are_not_erased(tmp_path, value):
    rare = np.zeros((64, 64), np.uint8)
    rare[:12, :12] = value  # 3.5 % of the pixels
    with pytest.raises(UserError, match=rf'contains the values 0, {value}: .*--changed-values'):
        prepared_label(tmp_path, lambda folder: save(folder / 'x.png', rare))
    prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(64, changed_values=(value,)))
    assert np.array_equal(read(tmp_path / 'out/train/label/x.png') == 255, rare == value)


def test_noisy_masks_and_splits_without_change_are_told(tmp_path, official):
    warnings = prepare_dataset(official, tmp_path / 'clean', PrepareOptions(64))['warnings']
    assert warnings == []
    (official / 'val/label/val_3.png').unlink()
    save(official / 'val/label/val_3.jpg', np.zeros((64, 64), np.uint8), quality=40)
    (official / 'test/label/test_4.png').unlink()
    save(official / 'test/label/test_4.jpg', mask(4), quality=40)
    warnings = prepare_dataset(official, tmp_path / 'out', PrepareOptions(64))['warnings']
    assert [text.split(':')[0] for text in warnings] == [
        'test/label/test_4.jpg contains values between 0 and 255',
        'val',
    ]
    assert warnings[1] == 'val: no mask has a changed pixel: check the masks'


@pytest.mark.parametrize('mode', ['L', 'LA', 'I;16'])
@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif'])
def test_what_training_reads_is_read_alike(tmp_path, mode, suffix):
    if mode == 'I;16':
        image = Image.fromarray(mask(3, high=1).astype(np.uint16))
    else:
        image = Image.fromarray(mask(3)).convert(mode)
    add_scene(tmp_path / 's/train', 'x', 3)
    for path in (tmp_path / 's/train').glob('*/x.png'):
        path.unlink()
    for role in ('A', 'B'):
        save(tmp_path / 's/train' / role / f'x{suffix}', picture(4))
    image.save(tmp_path / f's/train/label/x{suffix if suffix == ".tif" or mode == "L" else ".png"}')
    prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(64))
    (sample,) = ChangeDataset(
        data_root=str(tmp_path / 's'),
        data_prefix={'img_path_from': 'train/A', 'img_path_to': 'train/B', 'seg_map_path': 'train/label'},
        pipeline=[MultiImgLoadImageFromFile(), MultiImgLoadAnnotations()],
    )
    assert np.array_equal(sample['gt_seg_map'], mask(3) > 0)
    assert np.array_equal(read(tmp_path / 'out/train/label/x.png') > 0, sample['gt_seg_map'])
    assert np.array_equal(read(tmp_path / 'out/train/B/x.png'), sample['img'][1][..., ::-1])


def test_changed_values_choose_classes(tmp_path):
    values = np.random.default_rng(0).integers(0, 6, (64, 64)).astype(np.uint8)
    label = prepared_label(tmp_path, lambda folder: save(folder / 'x.png', values), changed_values=(2, 5))
    assert np.array_equal(label == 255, (values == 2) | (values == 5))


def test_what_is_not_labelled_is_written_as_127_and_that_is_written_down(tmp_path):
    values = mask(3, high=1)
    values[50:] = 9

    def write(folder):
        save(folder / 'x.png', values)

    label = prepared_label(tmp_path, write, ignored_values=(9,))
    assert np.array_equal(label, np.where(values == 9, 127, values * 255))
    written = json.loads((tmp_path / 'out/labels.json').read_text())
    assert (written['changed_values'], written['unchanged_values'], written['ignored_values']) == (
        [255],
        [0],
        [127],
    )
    assert written['splits'] == {'train': {'labels': 1, 'changed': 9 * 16, 'labelled': 50 * 64}}
    (sample,) = ChangeDataset(
        data_root=str(tmp_path / 'out'),
        split='train',
        pipeline=[MultiImgLoadImageFromFile(), MultiImgLoadAnnotations()],
    )
    assert np.array_equal(sample['gt_seg_map'], np.where(values == 9, 255, values))


def test_colours_are_named(tmp_path):
    colours = np.full((64, 64, 3), 255, np.uint8)
    colours[mask(3) > 0] = (255, 0, 0)
    colours[60:] = (0, 0, 255)
    label = prepared_label(
        tmp_path,
        lambda folder: save(folder / 'x.png', colours),
        changed_values=((255, 0, 0),),
        ignored_values=((0, 0, 255),),
    )
    expected = mask(3)
    expected[60:] = 127
    assert np.array_equal(label, expected)


def test_inverted_masks_are_told(tmp_path, official):
    for path in official.glob('*/label/*.png'):
        save(path, 255 - read(path))
    warnings = prepare_dataset(official, tmp_path / 'out', PrepareOptions(64))['warnings']
    assert [text.split(':')[0] for text in warnings] == ['train', 'val', 'test']
    assert all('more than half of its pixels are changed' in text for text in warnings)
    options = PrepareOptions(64, changed_values=(0,))
    assert prepare_dataset(official, tmp_path / 'out', options, overwrite=True)['warnings'] == []
    assert np.array_equal(read(tmp_path / 'out/val/label/val_3.png'), mask(3))


@pytest.mark.parametrize(
    ('role', 'array', 'message'),
    [
        (
            'label',
            np.full((64, 64), 120, np.uint8),
            r'label train/label/x\.png contains the values 120: write .*--changed-values',
        ),
        (
            'label',
            np.arange(4096).reshape(64, 64).astype(np.uint8) % 5,
            'contains the values 0, 1, 2, 3, 4: write 0',
        ),
        ('label', np.maximum(mask(3), mask(30, high=1)), 'contains the values 0, 1, 255: .*--changed-values'),
        ('label', picture(3), r'label/x\.png is a colour image'),
        ('B', np.zeros((64, 64), np.uint16), r'A/x\.png has uint8 and train/B/x\.png uint16 values'),
        ('B', picture(3, 64, 60), r'sizes of the pair differ \(A 64x64, B 60x64, label 64x64\)'),
        ('label', mask(3, 60, 64), r'sizes of the pair differ \(A 64x64, B 64x64, label 64x60\)'),
    ],
    ids=['mid-range', 'classes', '0, 1, 255', 'colour', '16 bit', 'sizes', 'label size'],
)
def test_bad_files(tmp_path, role, array, message):
    add_scene(tmp_path / 's/train', 'x', 3)
    save(tmp_path / 's/train' / role / 'x.png', array)
    with pytest.raises(UserError, match=message):
        prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(64))
    assert list(tmp_path.iterdir()) == [tmp_path / 's']


def test_two_codings_are_told(tmp_path, official):
    save(official / 'val/label/val_3.png', mask(3, high=1))
    with pytest.raises(UserError, match=r'val_3\.png is coded 0/1, but .* give --changed-values 1 255'):
        prepare_dataset(official, tmp_path / 'out', PrepareOptions(64))
    prepare_dataset(official, tmp_path / 'out', PrepareOptions(64, changed_values=(1, 255)))
    assert np.array_equal(read(tmp_path / 'out/val/label/val_3.png'), mask(3))
