"""What is told of a pair, of a split and of the whole set."""

import re

import cv2
import numpy as np
import pytest

pytest.importorskip('rasterio')

from made_up_checks import check, ground, label_of, only, save

from hsonet_mm.cli import run_tool
from hsonet_mm.index import SceneFiles
from hsonet_mm.preparation.check import check_dataset
from hsonet_mm.preparation.inspection import PairRecord, inspect_set

pytestmark = pytest.mark.any_host


def test_good_data_has_no_findings_and_right_figures(data):
    report = check_dataset(data, crop=64)
    assert report.findings == []
    assert list(report.splits) == ['train', 'val', 'test']
    labels = [label_of(seed) > 0 for seed in range(6)]
    assert report.splits['train'] == {
        'pairs': 6,
        'sizes': {'128x128': 6},
        'changed_share': round(float(np.mean(labels)), 6),
        'empty_share': round(2 / 6, 6),
    }


@pytest.mark.parametrize('role', ['A', 'B', 'label'])
def test_missing_file(data, role):
    (data / 'val' / role / '1.png').unlink()
    message = only(data, 'error', 'missing')
    assert f'has no counterpart in {role}: add it' in message


@pytest.mark.parametrize(('role', 'kind'), [('A', 'unreadable'), ('label', 'label')])
def test_truncated_file(data, role, kind):
    path = data / 'test' / role / '0.png'
    path.write_bytes(path.read_bytes()[:-60])
    assert only(data, 'error', kind).startswith(f'test/{role}/0.png cannot be read')


def test_other_size(data):
    save(data / 'train/B/2.png', ground(77, 96))
    assert 'train/A/2.png: the sizes differ (A 128x128, B 96x96, label 128x128)' in only(
        data, 'error', 'sizes'
    )


def test_crop_larger_than_an_image(data):
    kinds, messages = check(data, crop=256)
    assert kinds == [('error', 'crop')] * 6  # only training crops
    assert messages[0] == 'train/A/0.png: 128x128 is smaller than the crop of 256: use a smaller crop'
    assert check(data, crop=0) == ([], [])


def test_labels(data):
    save(data / 'train/label/1.png', np.full((128, 128), 120, np.uint8))
    assert only(data, 'error', 'label').startswith(
        'the label train/label/1.png contains the values 120: write'
    )
    save(data / 'train/label/1.png', ground(1))
    assert 'is a colour image' in only(data, 'error', 'label')
    save(data / 'train/label/1.png', np.repeat(label_of(1)[..., None], 3, 2))
    assert 'train/label/1.png: is a mask of 3 bands' in only(data, 'warning', 'label bands')
    (data / 'train/label/1.png').unlink()
    assert cv2.imwrite(str(data / 'train/label/1.jpg'), label_of(7), [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert 'train/label/1.jpg: contains values between 0 and 255' in only(data, 'warning', 'noisy label')


@pytest.mark.parametrize(('unlabelled', 'high'), [(255, 1), (128, 255)])
def test_a_value_that_is_not_labelled_is_named(data, tmp_path, capsys, unlabelled, high):
    shares = {split: row['changed_share'] for split, row in check_dataset(data).splits.items()}
    for path in data.glob('*/label/*.png'):
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) // 255 * np.uint8(high)
        label[60:, 70:] = unlabelled
        save(path, label)
    arguments = ['check', [str(data), '--crop', '64', '--contact-sheet', str(tmp_path / 'sheet.png')]]
    assert run_tool(*arguments) == 1
    assert re.search('--changed-values and "not labelled" by --ignore-value', capsys.readouterr().out)
    arguments[1] += ['--ignore-value', str(unlabelled)]
    assert run_tool(*arguments) == 0
    splits = check_dataset(data, crop=64, ignore_value=unlabelled).splits
    rest = 1 - 68 * 58 / 128**2  # shares are of the labelled pixels
    for split, row in splits.items():
        assert row['changed_share'] == pytest.approx(shares[split] / rest, abs=1e-6)


def test_labels_of_0_and_1_are_fine_but_not_mixed(data):
    save(data / 'val/label/1.png', label_of(7, high=1))
    message = only(data, 'error', 'label')
    assert message.startswith(
        'the label val/label/1.png is coded 0/1, but test/label/1.png and most of the data set'
    )
    assert check(data, changed_values=[1, 255]) == ([], [])
    for seed, path in enumerate(sorted(data.glob('*/label/*.png'))):
        save(path, label_of(seed + 1, high=1))
    assert check(data) == ([], [])


def test_constant_and_identical_images(data):
    save(data / 'train/A/1.png', np.full((128, 128, 3), 7, np.uint8))
    assert only(data, 'warning', 'constant').startswith('train/A/1.png: is all one colour')
    save(data / 'train/A/1.png', ground(501))
    message = only(data, 'error', 'identical')
    assert (
        message == 'train/B/1.png: equals the other date although its mask has changes: replace one of them'
    )
    save(data / 'train/label/1.png', label_of(0))
    assert 'equals the other date: replace' in only(data, 'warning', 'identical')


def test_share_of_changed_pixels_of_a_split(data):
    for path in (data / 'val/label').iterdir():
        save(path, label_of(0))
    assert only(data, 'error', 'no change') == 'val: no mask has a changed pixel: check the masks'
    for path in (data / 'val/label').iterdir():
        save(path, 255 - label_of(1))
    assert only(data, 'warning', 'mostly changed').startswith('val: more than half')


def test_mixed_sizes_in_a_split(data):
    for role, image in (('A', ground(70, 96)), ('B', ground(71, 96)), ('label', label_of(1, 96))):
        save(data / 'test' / role / '1.png', image)
    assert 'test: has images of 2 sizes, 128x128 (2), 96x96 (1)' in only(data, 'warning', 'mixed sizes')


@pytest.mark.parametrize(('split', 'level'), [('train', 'error'), ('val', 'error'), ('test', 'warning')])
@pytest.mark.parametrize('folder_stays', [True, False])
def test_missing_and_empty_splits(data, split, level, folder_stays):
    (data / split).rename(data.parent / 'away')
    if folder_stays:
        (data / split / 'A').mkdir(parents=True)
        level = 'error'
    assert only(data, level, 'splits') == f'{split}: contains no images: fill it or run hsonet prepare'


def test_set_without_splits(data):
    kinds, _ = check(data / 'train')
    assert kinds == [('warning', 'splits')]
    records = [PairRecord(SceneFiles('x', None, 'x', {}), 'all', (4, 4), 3, 16)]
    assert [finding.kind for finding in inspect_set(records)] == ['splits']
