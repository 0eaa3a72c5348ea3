import json
import os
import re

import cv2
import numpy as np
import pytest

pytest.importorskip('rasterio')
from hsonet_mm.cli import run_tool
from hsonet_mm.errors import UserError
from hsonet_mm.index import SceneFiles
from hsonet_mm.preparation.check import check_dataset
from hsonet_mm.preparation.contact_sheet import choose, overlay
from hsonet_mm.preparation.duplicates import find_duplicates, thumbnail
from hsonet_mm.preparation.inspection import PairRecord, inspect_set

pytestmark = pytest.mark.any_host

SPLITS = {'train': 6, 'val': 3, 'test': 3}


def ground(seed, size=128):
    """Fields, roofs and grain: as much structure as an aerial image has, different for every seed."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), np.float32)
    for cells, height in ((4, 40), (16, 30), (64, 15)):
        noise = rng.standard_normal((cells, cells, 3)).astype(np.float32) * height
        image += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    image += 120
    for _ in range(25):
        y, x = rng.integers(0, size - 12, 2)
        h, w = rng.integers(5, 12, 2)
        image[y : y + h, x : x + w] = rng.integers(60, 220)
    return np.clip(image, 0, 255).astype(np.uint8)


def plain(seed, size=128):
    """A field: one shade with a slope of light and faint grain."""
    rng = np.random.default_rng(seed)
    light = np.linspace(0, 25, size, dtype=np.float32)[:, None, None]
    return np.clip(100 + light + rng.normal(0, 3, (size, size, 3)), 0, 255).astype(np.uint8)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def label_of(seed, size=128, high=255):
    label = np.zeros((size, size), np.uint8)
    if seed % 3:
        label[10 : 10 + 4 * (seed % 12), 20:60] = high
    return label


@pytest.fixture
def data(tmp_path):
    root = tmp_path / 'data'
    seed = 0
    for split, count in SPLITS.items():
        for number in range(count):
            save(root / split / 'A' / f'{number}.png', ground(seed))
            save(root / split / 'B' / f'{number}.png', ground(seed + 500))
            save(root / split / 'label' / f'{number}.png', label_of(seed))
            seed += 1
    return root


def check(root, **kwargs):
    """The findings as (level, kind) and their messages."""
    report = check_dataset(root, crop=kwargs.pop('crop', 64), **kwargs)
    return [(f.level, f.kind) for f in report.findings], [f.message for f in report.findings]


def only(root, level, kind, **kwargs):
    """The message of the one finding there must be."""
    kinds, messages = check(root, **kwargs)
    assert kinds == [(level, kind)], messages
    return messages[0]


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


def test_pipes_are_no_images(data):
    """Whoever opens one waits."""
    os.mkfifo(data / 'train/A/pipe.png')
    assert check_dataset(data, crop=64).findings == []


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
    assert kinds == [('error', 'crop')] * 12
    assert messages[0] == 'test/A/0.png: 128x128 is smaller than the crop of 256: use a smaller crop'
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


@pytest.mark.parametrize(('split', 'level'), [('train', 'error'), ('val', 'warning')])
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


# ---- duplicates ----------------------------------------------------------------------------------------


def altered(image, turn, flip, crop, gain, offset):
    """A copy that was turned, flipped, cropped and resized, brightened and saved as JPEG."""
    size = image.shape[0]
    side = round(size * crop)
    begin = (size - side) // 3
    part = np.rot90(image[begin : begin + side, begin : begin + side], turn)
    part = cv2.resize(np.ascontiguousarray(part[:, ::-1] if flip else part), (size, size))
    part = np.clip(part * gain + offset, 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode('.jpg', part, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize('turn', range(4))
@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize(('crop', 'gain', 'offset'), [(1, 1, 0), (1, 0.7, 40), (0.95, 1.2, -20)])
def test_altered_copies_are_found(turn, flip, crop, gain, offset):
    originals = [thumbnail(ground(seed)) for seed in range(8)]
    copies = [thumbnail(altered(ground(seed), turn, flip, crop, gain, offset)) for seed in (5, 2)]
    found = find_duplicates(copies, originals)
    assert [(one.first, one.second) for one in found] == [(0, 5), (1, 2)]
    assert all(one.correlation > 0.75 and one.distance <= 44 for one in found)


@pytest.mark.parametrize('swap', [False, True])
def test_the_fit_allows_for_crops(swap):
    whole, cropped = thumbnail(ground(5)), thumbnail(altered(ground(5), 1, True, 0.83, 1, 0))
    pair = (whole, cropped) if swap else (cropped, whole)
    found = find_duplicates([pair[0]], [pair[1]], max_distance=144)
    assert found[0].correlation > 0.75


def test_different_places_and_plain_ground_are_not_duplicates():
    first = [thumbnail(ground(seed)) for seed in range(60)] + [thumbnail(plain(seed)) for seed in range(40)]
    second = [thumbnail(ground(seed)) for seed in range(60, 120)] + [
        thumbnail(plain(seed)) for seed in range(40, 80)
    ]
    assert find_duplicates(first, second) == []
    assert find_duplicates(first) == []


def test_nothing_to_recognise():
    flat = np.full((72, 72), 9, np.uint8)
    assert find_duplicates([flat], [flat]) == []
    assert find_duplicates([flat]) == []
    assert find_duplicates([], [flat]) == []
    assert find_duplicates([flat], []) == []


@pytest.mark.parametrize('roles', ['AB', 'BA'])
def test_copy_in_another_split_is_an_error_told_once(data, roles):
    for role, seed in zip(roles, (4, 504), strict=True):
        save(data / 'test' / role / '2.png', altered(ground(seed), 3, True, 0.95, 0.8, 20))
    message = only(data, 'error', 'duplicate')
    assert message.startswith('train/')
    assert '/4.png: shows the same ground as test/' in message
    assert message.endswith('remove one of the pairs')
    assert check(data, duplicates=False) == ([], [])


@pytest.mark.parametrize('role', ['A', 'B'])
def test_one_date_that_looks_alike_is_a_warning(data, role):
    save(data / 'test' / role / '2.png', altered(ground(4), 1, False, 1, 1, 0))
    message = only(data, 'warning', 'look-alike')
    assert message.startswith(
        f'train/A/4.png: looks like test/{role}/2.png, at this date only (correlation 0.'
    )


def test_repeats_within_a_split_are_a_remark(data):
    for role, seed in (('A', 4), ('B', 504)):
        save(data / 'train' / role / '2.png', altered(ground(seed), 2, False, 1, 1, 5))
    message = only(data, 'warning', 'repeats')
    assert message.startswith('train/')
    assert 'train has at least 1 such pairs' in message


# ---- contact sheet -------------------------------------------------------------------------------------


def test_choice_holds_the_most_changed_and_others():
    def record(number, changed, **kwargs):
        files = {'A': 'a', 'B': 'b', 'label': 'l'}
        return PairRecord(
            SceneFiles(f's{number}', 'val', str(number), files), 'val', (10, 10), changed, 100, **kwargs
        )

    records = [record(number, number) for number in range(50)]
    chosen = [one.changed for one in choose(records, 6, 0)]
    assert chosen[:3] == [49, 48, 47]
    assert chosen == sorted(chosen, reverse=True)
    assert len(set(chosen)) == 6
    assert chosen == [one.changed for one in choose(records[::-1], 6, 0)]
    assert chosen != [one.changed for one in choose(records, 6, 1)]
    unreadable = PairRecord(SceneFiles('u', 'val', 'u', {'A': 'a'}), 'val', (10, 10))
    assert choose([unreadable], 6, 0) == []


def test_overlay_marks_the_changed_pixels_only():
    image = np.full((50, 50, 3), 100, np.uint8)
    changed = np.zeros((50, 50), bool)
    changed[10:30, 10:30] = True
    marked = overlay(image, changed)
    assert (marked[~changed] == 100).all()
    assert (marked[changed][:, 0] > 100).all()
    assert (image == 100).all()


def test_contact_sheet_is_a_png(data, tmp_path, capsys):
    assert run_tool('check', [str(data), '--contact-sheet', str(tmp_path / 'sheet.jpg')]) == 2
    assert 'expected a name that ends in .png' in capsys.readouterr().err


def test_contact_sheet_shows_the_pairs(data, tmp_path):
    (data / 'train/B/0.png').write_bytes(b'broken')
    check_dataset(data, sheet=tmp_path / 'sheet.png', pairs=2)
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    cell, line, gap = 192, 20, 4
    assert sheet.shape == (line + 2 * (cell + line), 3 * (3 * (cell + gap) + 4 * gap), 3)
    most = max(range(6), key=lambda seed: label_of(seed).sum())
    expected = cv2.resize(
        cv2.imread(str(data / f'train/A/{most}.png')), (cell, cell), interpolation=cv2.INTER_AREA
    )
    assert np.array_equal(sheet[line : line + cell, :cell], expected)
    assert sorted(path.name for path in tmp_path.iterdir() if 'sheet' in path.name) == ['sheet.png']


# ---- command line --------------------------------------------------------------------------------------


def test_exit_codes(data, capsys):
    arguments = [str(data), '--crop', '64']
    assert run_tool('check', arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == 'fine'
    assert next(line.split() for line in printed if line.startswith('val'))[:2] == ['val', '3']
    save(data / 'val/label/1.png', np.repeat(label_of(7)[..., None], 3, 2))
    assert run_tool('check', arguments) == 0
    assert run_tool('check', [*arguments, '--strict']) == 1
    assert 'warning: val/label/1.png' in capsys.readouterr().out
    (data / 'val/label/1.png').unlink()
    assert run_tool('check', arguments) == 1
    assert capsys.readouterr().out.splitlines()[-1] == 'problems found'
    assert run_tool('check', [str(data / 'nowhere')]) == 2
    assert 'nowhere: no such folder' in capsys.readouterr().err
    assert run_tool('check', [*arguments, '--pairs', '0']) == 2


def test_many_findings_of_a_kind_are_counted(data, capsys):
    assert run_tool('check', [str(data), '--no-duplicates']) == 1
    printed = capsys.readouterr().out
    assert printed.count('is smaller than the crop of 256') == 10
    assert 'error: 2 more of the kind "crop": --json lists all' in printed


def test_json(data, tmp_path):
    (data / 'val/A/1.png').unlink()
    assert run_tool('check', [str(data), '--crop', '64', '--json', str(tmp_path / 'sub/report.json')]) == 1
    content = json.loads((tmp_path / 'sub/report.json').read_text())
    assert content['failed'] is True
    assert content['layout'] == 'LEVIR-CD'
    assert content['splits']['test']['pairs'] == 3
    assert [(f['level'], f['kind'], f['split']) for f in content['findings']] == [('error', 'missing', 'val')]


def test_coding_is_written_down_where_it_is_certain(data, capsys):
    save(data / 'val/label/1.png', np.where(label_of(4) > 0, 2, 0).astype(np.uint8))
    assert run_tool('check', [str(data), '--crop', '64']) == 1
    assert 'val/label/1.png contains the values 0, 2' in capsys.readouterr().out
    assert not (data / 'labels.json').exists()
    assert run_tool('check', [str(data), '--crop', '64', '--changed-values', '2', '255']) == 0
    changed = sum(int((label_of(seed) > 0).sum()) for seed in range(6))
    written = json.loads((data / 'labels.json').read_text())
    assert written['changed_values'] == [2, 255]
    assert written['unchanged_values'] is None
    assert written['splits']['train'] == {'labels': 6, 'changed': changed, 'labelled': 6 * 128**2}
    assert check(data) == ([], [])  # as declared before
    save(data / 'val/label/1.png', ground(1))
    written = (data / 'labels.json').read_bytes()
    assert check_dataset(data, crop=64, duplicates=False).labels.coding.changed == (2, 255)
    assert (data / 'labels.json').read_bytes() == written


def test_pairs_that_no_list_names_are_told(tmp_path):
    for seed, name in enumerate(('a', 'b', 'c', 'd')):
        for role, image in (('A', ground(seed)), ('B', ground(seed + 50)), ('label', label_of(7))):
            save(tmp_path / role / f'{name}.png', image)
    (tmp_path / 'list').mkdir()
    for split, name in (('train', 'a.png'), ('val', 'b.png'), ('test', 'c.png')):
        (tmp_path / 'list' / f'{split}.txt').write_text(f'{name}\n')
    assert 'leave out 1 pair: d' in only(tmp_path, 'warning', 'unlisted')


def test_nothing_readable(tmp_path, capsys):
    for role in ('A', 'B', 'label'):
        save(tmp_path / 'x/train' / role / '0.png', ground(0))
        (tmp_path / 'x/train' / role / '0.png').write_bytes(b'?')
    assert run_tool('check', [str(tmp_path / 'x'), '--contact-sheet', str(tmp_path / 'sheet.png')]) == 1
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith('train'))
    assert row == ['train', '1', '-', '-']
    with pytest.raises(UserError, match='no image pairs found'):
        check_dataset(tmp_path / 'x/train/A')


def test_tool(data, tmp_path, run_tool):
    for role, seed in (('A', 4), ('B', 504)):
        save(data / 'test' / role / '2.png', altered(ground(seed), 1, False, 1, 1, 0))
    done = run_tool('tools/check_dataset.py', data, '--crop', '64', '--contact-sheet', tmp_path / 'sheet.png')
    assert done.returncode == 1, done.stderr
    assert '/4.png: shows the same ground as test/' in done.stdout
    assert (tmp_path / 'sheet.png').is_file()
