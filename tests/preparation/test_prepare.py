import hashlib
import json
import os
import random
import zipfile

import cv2
import numpy as np
import pytest
from helpers import interrupt_replacing
from PIL import Image

pytest.importorskip('rasterio')
from hsonet_mm.cli import run_tool
from hsonet_mm.datasets import ChangeDataset, MultiImgLoadAnnotations, MultiImgLoadImageFromFile
from hsonet_mm.errors import UserError
from hsonet_mm.index import SceneFiles
from hsonet_mm.preparation.prepare import PrepareOptions, prepare_dataset
from hsonet_mm.preparation.sources import Source
from hsonet_mm.preparation.tiling import Unit, assign_splits, blocks, cut, offsets, read_split_file

pytestmark = pytest.mark.any_host


def picture(seed, height=64, width=64):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def mask(seed, height=64, width=64, high=255):
    values = np.zeros((height, width), np.uint8)
    values[seed % 40 : seed % 40 + 9, 5:21] = high
    return values


def save(path, array, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **kwargs)


def add_scene(root, stem, seed, folders=('A', 'B', 'label'), size=(64, 64), suffix='.png', label=None):
    save(root / folders[0] / f'{stem}{suffix}', picture(seed, *size))
    save(root / folders[1] / f'{stem}{suffix}', picture(seed + 1000, *size))
    save(root / folders[2] / f'{stem}.png', mask(seed, *size) if label is None else label)


@pytest.fixture
def scenes(tmp_path):
    root = tmp_path / 'scenes'
    for number in range(10):
        add_scene(root, f'place{number}', number)
    return root


@pytest.fixture
def official(tmp_path):
    root = tmp_path / 'official'
    for number, split in enumerate(('train', 'train', 'train', 'val', 'test')):
        add_scene(root / split, f'{split}_{number}', number)
    return root


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def read(path):
    return np.asarray(Image.open(path))


def splits_of(manifest):
    return {tile['scene']: tile['split'] for tile in manifest['files']}


# ---- tiles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('length', 'stride', 'border', 'expected'),
    [
        (64, 32, 'shift', [0, 32]),
        (70, 32, 'shift', [0, 32, 38]),
        (70, 32, 'pad', [0, 32, 64]),
        (70, 32, 'drop', [0, 32]),
        (64, 20, 'shift', [0, 20, 32]),
        (20, 32, 'shift', []),
        (20, 32, 'pad', [0]),
        (110, 50, 'pad', [0, 50, 100]),
        (85, 60, 'pad', [0, 60]),
        (45, 60, 'pad', [0]),
    ],
)
def test_offsets(length, stride, border, expected):
    assert offsets(length, 32, stride, border) == expected


@pytest.mark.parametrize('length', range(32, 130, 7))
@pytest.mark.parametrize('border', ['shift', 'pad'])
@pytest.mark.parametrize('stride', [9, 32])
def test_no_pixel_is_lost(length, border, stride):
    starts = offsets(length, 32, stride, border)
    assert set(range(length)) <= {start + i for start in starts for i in range(32)}
    assert len(set(starts)) == len(starts)
    if border == 'shift':
        assert max(starts) + 32 == length


def test_cut_pads_with_zero():
    tile = cut(np.ones((5, 7, 3), np.uint8), 3, 4, 4)
    assert tile.shape == (4, 4, 3)
    assert tile[:2, :3].all()
    assert tile.sum() == 2 * 3 * 3


def test_tiles_are_the_pixels_of_the_source(tmp_path):
    add_scene(tmp_path / 's' / 'train', 'one', 3, size=(70, 100))
    manifest = prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(tile=32))
    source = read(tmp_path / 's/train/A/one.png')
    source_b = read(tmp_path / 's/train/B/one.png')
    assert len(manifest['files']) == 3 * 4
    for tile in manifest['files']:
        y, x = tile['y'], tile['x']
        assert tile['name'] == f'one_{y:05d}_{x:05d}.png'
        assert np.array_equal(read(tmp_path / 'out/train/A' / tile['name']), source[y : y + 32, x : x + 32])
        assert np.array_equal(read(tmp_path / 'out/train/B' / tile['name']), source_b[y : y + 32, x : x + 32])
        label = read(tmp_path / 'out/train/label' / tile['name'])
        assert np.array_equal(label, mask(3, 70, 100)[y : y + 32, x : x + 32])
        assert tile['changed'] == np.count_nonzero(label)
    assert {(tile['y'], tile['x']) for tile in manifest['files']} == {
        (y, x) for y in (0, 32, 38) for x in (0, 32, 64, 68)
    }


def test_tile_that_is_the_scene_keeps_its_name_and_padding_fills_with_black(tmp_path):
    add_scene(tmp_path / 's/train', 'small', 1, size=(40, 50))
    add_scene(tmp_path / 's/train', 'whole', 2, size=(64, 64))
    prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(tile=64, border='pad'))
    assert sorted(p.name for p in (tmp_path / 'out/train/A').iterdir()) == [
        'small_00000_00000.png',
        'whole.png',
    ]
    padded = read(tmp_path / 'out/train/A/small_00000_00000.png')
    assert padded.shape == (64, 64, 3)
    assert np.array_equal(padded[:40, :50], picture(1, 40, 50))
    assert not padded[40:].any()
    assert not padded[:, 50:].any()


# ---- layouts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'folders', 'suffix'),
    [
        ('LEVIR-CD', ('A', 'B', 'label'), '.png'),
        ('CDD', ('A', 'B', 'OUT'), '.jpg'),
        ('SYSU-CD', ('time1', 'time2', 'label'), '.tif'),
        ('S2Looking', ('Image1', 'Image2', 'label'), '.png'),
    ],
)
def test_official_layouts_keep_their_splits(tmp_path, name, folders, suffix):
    for number, split in enumerate(('train', 'val', 'test')):
        add_scene(tmp_path / 'deep' / 'set' / split, '00000', number, folders, suffix=suffix)
    manifest = prepare_dataset(tmp_path / 'deep', tmp_path / 'out', PrepareOptions(tile=64))
    assert manifest['layout'] == name
    assert {(t['split'], t['name']) for t in manifest['files']} == {
        (split, '00000.png') for split in ('train', 'val', 'test')
    }
    assert np.array_equal(read(tmp_path / 'out/val/label/00000.png'), mask(1))


def test_whu_official_areas(tmp_path):
    root = tmp_path / 'whu' / '1. The two-period image data'
    for number, split in enumerate(('train', 'test')):
        for year in (2012, 2016):
            area = root / str(year) / 'whole_image' / split
            save(area / 'image' / f'{year}_{split}.tif', picture(number + year, 96, 128))
            save(area / 'label' / f'{year}_{split}.tif', mask(30, 96, 128))  # buildings, not changes
            for part in range(4):
                save(root / str(year) / 'splited_images' / split / 'image' / f'{part}.tif', picture(part))
                save(root / str(year) / 'splited_images' / split / 'label' / f'{part}.tif', mask(part))
        save(root / 'change_label' / split / 'change_label.tif', mask(number, 96, 128))
    manifest = prepare_dataset(
        tmp_path / 'whu', tmp_path / 'out', PrepareOptions(tile=32, block=32, val=0.25)
    )
    assert manifest['layout'] == 'WHU-CD'
    assert {split: row['tiles'] for split, row in manifest['splits'].items()} == {
        'train': 9,
        'val': 3,
        'test': 12,
    }
    assert np.array_equal(
        read(tmp_path / 'out/test/A/test_00032_00064.png'), picture(2013, 96, 128)[32:64, 64:96]
    )
    assert np.array_equal(
        read(tmp_path / 'out/test/B/test_00032_00064.png'), picture(2017, 96, 128)[32:64, 64:96]
    )
    assert np.array_equal(read(tmp_path / 'out/test/label/test_00000_00000.png'), mask(1, 96, 128)[:32, :32])


def test_whu_whole_rasters_are_split_by_blocks_that_no_tile_crosses(tmp_path):
    root = tmp_path / 'whu'
    save(root / 'before/before.tif', picture(1, 170, 210))
    save(root / 'before/before_label.tif', mask(1, 170, 210))
    save(root / 'after/after.tif', picture(2, 170, 210))
    save(root / 'change label/change_label.tif', mask(3, 170, 210, high=1))
    options = PrepareOptions(tile=32, block=64, val=0.2, test=0.3)
    manifest = prepare_dataset(root, tmp_path / 'out', options)
    assert manifest['layout'] == 'WHU-CD whole'
    assert {split: row['scenes'] for split, row in manifest['splits'].items()} == {
        'train': 4,
        'val': 2,
        'test': 3,
    }
    owner = np.full((170, 210), '', dtype='U5')
    for tile in manifest['files']:
        window = owner[tile['y'] : tile['y'] + 32, tile['x'] : tile['x'] + 32]
        assert set(np.unique(window)) <= {'', tile['split']}
        window[:] = tile['split']
    assert (owner != '').all()


def test_padded_tiles_show_nothing_of_the_neighbouring_block(tmp_path):
    add_scene(tmp_path / 's/train', 'x', 1, size=(100, 100), label=np.full((100, 100), 255, np.uint8))
    manifest = prepare_dataset(
        tmp_path / 's', tmp_path / 'out', PrepareOptions(32, block=50, border='pad', val=0)
    )
    assert sum(tile['changed'] for tile in manifest['files']) == 100 * 100
    tile = read(tmp_path / 'out/train/A/x_00032_00032.png')
    assert tile[:18, :18].any()
    assert not tile[18:].any()
    assert not tile[:, 18:].any()


def test_blocks_of_a_scene():
    scene = SceneFiles('s', None, 's', {})
    assert blocks(scene, 60, 60, 64, 32) == [Unit('s', scene)]
    units = blocks(scene, 70, 130, 64, 32)
    assert [(u.y, u.x, u.height, u.width) for u in units] == [(0, 0, 70, 64), (0, 64, 70, 66)]
    assert [u.name for u in units] == ['s#0_0', 's#0_64']


@pytest.mark.parametrize('folders', [('before', 'after', 'mask'), ('before/*', 'after/*', 'mask/*')])
def test_own_folders_by_name(tmp_path, folders):
    for number in range(4):
        add_scene(tmp_path / 's', f'x{number}', number, ('before', 'after', 'mask'))
    options = PrepareOptions(tile=32, folders=folders)
    manifest = prepare_dataset(tmp_path / 's', tmp_path / 'out', options)
    assert len(manifest['files']) == 4 * 4
    assert manifest['layout'] == 'given'


def test_own_files_and_split_templates(tmp_path):
    add_scene(tmp_path / 's', 'x', 1, ('old', 'new', 'truth'), size=(64, 96))
    files = ('old/x.png', 'new/x.png', 'truth/x.png')
    manifest = prepare_dataset(
        tmp_path / 's', tmp_path / 'one', PrepareOptions(32, val=0, test=0, folders=files)
    )
    assert {tile['scene'] for tile in manifest['files']} == {'scene'}
    add_scene(tmp_path / 't/old', 'x', 1, ('train', 'test', 'val'))
    for role in ('new', 'truth'):
        add_scene(tmp_path / 't' / role, 'x', 1, ('train', 'test', 'val'))
    for split in ('train', 'val', 'test'):
        save(tmp_path / 't/truth' / split / 'x.png', mask(2))
    folders = ('old/{split}/*', 'new/{split}/*', 'truth/{split}/*')
    manifest = prepare_dataset(tmp_path / 't', tmp_path / 'two', PrepareOptions(64, folders=folders))
    assert set(manifest['splits']) == {'train', 'val', 'test'}


# ---- archives ------------------------------------------------------------------------------------------


def pack(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.mark.parametrize('inner', ['', 'train/'])
def test_folder_of_archives_equals_the_folder(tmp_path, official, inner):
    expected = prepare_dataset(official, tmp_path / 'expected', PrepareOptions(tile=32))
    zips = tmp_path / 'zips'
    zips.mkdir()
    for split in ('train', 'val', 'test'):
        prefix = inner.replace('train', split)
        files = {f'{prefix}{name}': data for name, data in tree(official / split).items()}
        pack(
            zips / f'{split}.zip',
            files | {f'__MACOSX/{prefix}A/._x.png': b'junk', f'{prefix}A/.y.png': b'junk'},
        )
    manifest = prepare_dataset(zips, tmp_path / 'out', PrepareOptions(tile=32))
    assert manifest['files'] == expected['files']
    assert sorted(zips.iterdir()) == [zips / f'{split}.zip' for split in ('test', 'train', 'val')]


def test_one_archive_and_nothing_unpacked(tmp_path, official):
    pack(tmp_path / 'LEVIR-CD.zip', {f'LEVIR-CD/{name}': data for name, data in tree(official).items()})
    before = set(tmp_path.iterdir())
    manifest = prepare_dataset(tmp_path / 'LEVIR-CD.zip', tmp_path / 'out', PrepareOptions(tile=64))
    assert {split: row['tiles'] for split, row in manifest['splits'].items()} == {
        'train': 3,
        'val': 1,
        'test': 1,
    }
    assert set(tmp_path.iterdir()) - before == {tmp_path / 'out'}


@pytest.mark.parametrize(
    'name', ['../train/A/x.png', '/train/A/x.png', 'train/../../A/x.png', 'C:\\train\\A\\x.png']
)
def test_archive_with_unsafe_path_is_refused(tmp_path, name):
    pack(tmp_path / 'bad.zip', {name: b'x'})
    with pytest.raises(UserError, match='unsafe path'):
        prepare_dataset(tmp_path / 'bad.zip', tmp_path / 'out')
    assert list(tmp_path.iterdir()) == [tmp_path / 'bad.zip']


def test_damaged_and_encrypted_archives_are_refused(tmp_path, official):
    (tmp_path / 'broken.zip').write_bytes(b'PK\x03\x04 and no more')
    with pytest.raises(UserError, match=r'broken\.zip: is not a readable zip'):
        Source(tmp_path / 'broken.zip')
    pack(tmp_path / 'full.zip', tree(official))
    data = bytearray((tmp_path / 'full.zip').read_bytes())
    data[data.index(b'PK\x01\x02') + 8] |= 1
    (tmp_path / 'locked.zip').write_bytes(data)
    with pytest.raises(UserError, match=r'locked\.zip: is encrypted'):
        Source(tmp_path / 'locked.zip')
    data = bytearray((tmp_path / 'full.zip').read_bytes())
    data[200] ^= 255
    (tmp_path / 'flipped.zip').write_bytes(data)
    with pytest.raises(UserError, match='download it again'):
        prepare_dataset(tmp_path / 'flipped.zip', tmp_path / 'out', PrepareOptions(tile=32))
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('compression', [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize('block', [0, 32])
def test_member_that_cannot_be_decompressed(tmp_path, official, compression, block):
    pack(tmp_path / 'some.zip', tree(official), compression)
    with zipfile.ZipFile(tmp_path / 'some.zip') as archive:
        member = archive.getinfo('train/A/train_0.png')
    data = bytearray((tmp_path / 'some.zip').read_bytes())
    start = member.header_offset + 30 + len(member.filename) + 10
    data[start : start + 400] = b'\xff' * 400
    (tmp_path / 'some.zip').write_bytes(data)
    with pytest.raises(UserError, match=r'train/A/train_0\.png: cannot be read .* download it again'):
        prepare_dataset(tmp_path / 'some.zip', tmp_path / 'out', PrepareOptions(tile=32, block=block))


# ---- splits --------------------------------------------------------------------------------------------


def test_scenes_are_split_whole_and_by_the_shares(tmp_path, scenes):
    manifest = prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(tile=32, val=0.1, test=0.2))
    by_split = {split: row['scenes'] for split, row in manifest['splits'].items()}
    assert by_split == {'train': 7, 'val': 1, 'test': 2}
    for name in {tile['scene'] for tile in manifest['files']}:
        tiles = [tile for tile in manifest['files'] if tile['scene'] == name]
        assert len(tiles) == 4
        assert len({tile['split'] for tile in tiles}) == 1


def test_split_depends_on_seed_and_names_not_on_order():
    units = [Unit(f's{n}', SceneFiles(f's{n}', None, f's{n}', {})) for n in range(30)]
    first = assign_splits(units, 0.2, 0.2, 0)
    shuffled = random.Random(1).sample(units, len(units))
    assert assign_splits(shuffled, 0.2, 0.2, 0) == first
    assert assign_splits(units, 0.2, 0.2, 1) != first
    assert sorted(first.values()) == ['test'] * 6 + ['train'] * 18 + ['val'] * 6


def test_missing_val_comes_from_train_and_official_splits_stay():
    units = [
        Unit(f'{s}/{n}', SceneFiles(f'{s}/{n}', s, str(n), {})) for s in ('train', 'test') for n in range(10)
    ]
    result = assign_splits(units, 0.2, 0.5, 0)
    assert [result[f'test/{n}'] for n in range(10)] == ['test'] * 10
    assert sorted(result[f'train/{n}'] for n in range(10)) == ['train'] * 8 + ['val'] * 2
    assert set(assign_splits(units, 0.0, 0.5, 0).values()) == {'train', 'test'}


@pytest.mark.parametrize('kind', ['csv', 'json', 'lists'])
def test_split_file_overrides(tmp_path, scenes, kind):
    wanted = {f'place{n}': ('train', 'val', 'test')[n % 3] for n in range(10)}
    path = tmp_path / f'splits.{"csv" if kind == "csv" else "json"}'
    if kind == 'csv':
        path.write_text('Scene, Split\n' + ''.join(f'{name}, {split}\n' for name, split in wanted.items()))
    elif kind == 'json':
        path.write_text(json.dumps(wanted))
    else:
        path.write_text(
            json.dumps({s: [n for n, v in wanted.items() if v == s] for s in ('train', 'val', 'test')})
        )
    assert splits_of(prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64), path)) == wanted


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('place0,trian\n', "invalid split 'trian' of 'place0': expected"),
        ('place0,train\nplace0,val\n', 'two splits, train and val'),
        ('place99,train\n', "names 'place99'"),
        ('place0,train\n', "does not assign 'place1'"),
        ('place0\n', 'is not a split file .line 1 has no split'),
    ],
)
def test_bad_split_files(tmp_path, scenes, text, message):
    (tmp_path / 'splits.csv').write_text(text)
    with pytest.raises(UserError, match=message):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64), tmp_path / 'splits.csv')


def test_split_file_that_is_missing_or_no_table(tmp_path):
    (tmp_path / 'x.json').write_text('[1, 2]')
    for name, sentence in (
        ('x.json', 'x.json: is not a split file .it is not an object'),
        ('gone.csv', 'does not exist'),
    ):
        with pytest.raises(UserError, match=sentence):
            read_split_file(tmp_path / name)


@pytest.mark.parametrize(
    'content',
    [
        b'\xef\xbb\xbfscene;split\r\na ;train\r\nb;val\r\n\r\n',
        'Scene\tSplit\tnote\na\tTrain\tx, y\nb\tVAL\n'.encode('utf-16'),
        b'sep=;\nsplit;scene\ntrain;a\nval;b\n',
        b'a,train\nb,val',
    ],
)
def test_split_files_of_spreadsheets(tmp_path, content):
    (tmp_path / 'splits.csv').write_bytes(content)
    assert read_split_file(tmp_path / 'splits.csv') == {'a': 'train', 'b': 'val'}


def test_names_of_a_split_file_may_have_folders_and_suffixes():
    units = [Unit(name, SceneFiles(name, None, name, {})) for name in 'abc']
    table = {'A/a.png': 'train', 'B\\b.TIF': 'val', 'c': 'test'}
    assert assign_splits(units, 0.1, 0.1, 0, table) == {'a': 'train', 'b': 'val', 'c': 'test'}
    with pytest.raises(UserError, match="gives 'a' two splits, train and val"):
        assign_splits(units, 0.1, 0.1, 0, table | {'B/a.png': 'val'})


def test_too_few_scenes(tmp_path):
    add_scene(tmp_path / 's', 'only', 0)
    with pytest.raises(
        UserError, match=r'too few scenes \(1, such as only\) to split off test and val.*--block'
    ):
        prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(32))
    manifest = prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(32, val=0, test=0))
    assert manifest['warnings'] == ['there is no val split', 'there is no test split']


# ---- labels and images ---------------------------------------------------------------------------------


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


def test_names_in_other_encodings_are_read_and_printed(tmp_path, scenes, capsys):
    for path in list(scenes.glob('*/place0.png')):
        path.rename(path.with_name(os.fsdecode(b'caf\xe9.png')))
    (scenes / 'list').mkdir()
    (scenes / 'list/train.txt').write_bytes(b''.join(b'place%d\n' % n for n in range(1, 9)))
    assert run_tool('prepare', [str(scenes), str(tmp_path / 'out'), '--tile', '64']) == 0
    assert 'leave out 2 scenes: caf\\udce9, place9' in capsys.readouterr().out
    (scenes / 'list/train.txt').unlink()
    assert (
        run_tool('prepare', [str(scenes), str(tmp_path / 'all'), '--tile', '64', '--val', '0', '--test', '0'])
        == 0
    )
    data = ChangeDataset(
        data_root=str(tmp_path / 'all'), split='train', pipeline=[MultiImgLoadImageFromFile()]
    )
    assert len([sample['img'] for sample in data]) == 10


def test_lists_of_splits_decide(tmp_path, scenes):
    names = {'train': range(6), 'val': (6, 7), 'test': (8,)}
    for split, numbers in names.items():
        (scenes / 'list').mkdir(exist_ok=True)
        (scenes / 'list' / f'{split}.txt').write_text('\n'.join(f'place{number}.png' for number in numbers))
    manifest = prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64))
    assert splits_of(manifest) == {
        f'{split}/place{n}': split for split, numbers in names.items() for n in numbers
    }
    assert manifest['warnings'] == ['the lists of splits leave out 1 scene: place9']


def grey_alpha(value):
    return np.dstack([picture(3), np.full((64, 64), value, np.uint8)])


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


def test_depths_that_differ_are_noticed(tmp_path):
    add_scene(tmp_path / 's/train', 'x', 3)
    path = tmp_path / 's/train/A/x.png'
    cv2.imwrite(str(path), picture(3).astype(np.uint16) * 257)
    with pytest.raises(UserError, match=r'A/x\.png has uint16 and train/B/x\.png uint8 values'):
        prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(64))


def test_opaque_alpha_and_grey_images_are_taken(tmp_path):
    add_scene(tmp_path / 's/train', 'x', 3)
    save(tmp_path / 's/train/A/x.png', grey_alpha(255))
    save(tmp_path / 's/train/B/x.png', picture(4)[..., 0])
    prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(64))
    assert np.array_equal(read(tmp_path / 'out/train/A/x.png'), picture(3))
    assert np.array_equal(read(tmp_path / 'out/train/B/x.png'), np.repeat(picture(4)[..., :1], 3, 2))


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif'])
def test_truncated_image_leaves_nothing_behind(tmp_path, official, suffix):
    path = official / 'val/A/val_3.png'
    image = Image.open(path)
    image.load()
    path.unlink()
    image.save(path.with_suffix(suffix))
    data = path.with_suffix(suffix).read_bytes()
    path.with_suffix(suffix).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=rf'val/A/val_3{suffix} cannot be read'):
        prepare_dataset(official, tmp_path / 'out', PrepareOptions(32))
    assert list(tmp_path.iterdir()) == [official]


def test_raster_beyond_the_limit_is_refused_and_pillows_own_limit_comes_back(tmp_path, scenes, monkeypatch):
    before = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr('hsonet_mm.images.files._MAX_PIXELS', 64 * 64 - 2)
    with pytest.raises(UserError, match='has more than 4094 pixels'):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64))
    assert before == Image.MAX_IMAGE_PIXELS


def test_large_rasters_give_no_warning(tmp_path, scenes, monkeypatch, recwarn):
    monkeypatch.setattr('hsonet_mm.images.files._MAX_PIXELS', 64 * 64 + 2)  # Pillow warns above half of it
    prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64))
    assert not [w for w in recwarn if issubclass(w.category, Image.DecompressionBombWarning)]


# ---- pairs and sources ---------------------------------------------------------------------------------


@pytest.mark.parametrize('role', ['A', 'B', 'label'])
def test_missing_counterpart(tmp_path, official, role):
    (official / 'test' / role / 'test_4.png').unlink()
    with pytest.raises(UserError, match=rf'test_4\.png: has no counterpart of the same name in {role}'):
        prepare_dataset(official, tmp_path / 'out', PrepareOptions(32))


def test_bad_sources(tmp_path, official):
    with pytest.raises(UserError, match='no such folder'):
        prepare_dataset(tmp_path / 'gone', tmp_path / 'out')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='empty: no image pairs found'):
        prepare_dataset(tmp_path / 'empty', tmp_path / 'out')
    save(official / 'test/A/test_4.jpg', picture(1))
    with pytest.raises(UserError, match=r'test/A/test_4\.jpg and test/A/test_4\.png have one name'):
        prepare_dataset(official, tmp_path / 'out')


def test_several_sets_in_one_source(tmp_path):
    add_scene(tmp_path / 'more/north', 'x', 1)
    add_scene(tmp_path / 'more/south', 'x', 2)
    with pytest.raises(UserError, match="several data sets \\('north/' and 'south/'\\)"):
        prepare_dataset(tmp_path / 'more', tmp_path / 'out')


def test_scene_smaller_than_a_tile(tmp_path, scenes):
    with pytest.raises(UserError, match='64x64 is smaller than a tile of 65'):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(65))
    with pytest.raises(UserError, match='no tile is left'):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(65, border='drop'))


def test_two_scenes_of_one_name_in_one_split(tmp_path):
    for split in ('train', 'test'):
        add_scene(tmp_path / 's' / split, 'x', 1)
    (tmp_path / 'splits.csv').write_text('train/x,train\ntest/x,train\n')
    with pytest.raises(UserError, match='two scenes give the tile train/x'):
        prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(64), tmp_path / 'splits.csv')


def test_unreadable_image_is_also_told_with_blocks(tmp_path, scenes):
    (scenes / 'A/place4.png').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'A/place4\.png cannot be read'):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(32, block=32))


@pytest.mark.parametrize(
    'options',
    [
        {'tile': 0},
        {'stride': -1},
        {'tile': 64, 'block': 32},
        {'val': 0.5, 'test': 0.5},
        {'val': -0.1},
        {'max_empty': 1.1},
        {'border': 'mirror'},
        {'folders': ('A', 'B')},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(UserError, match=r': (expected|give)'):
        PrepareOptions(**options)


# ---- output --------------------------------------------------------------------------------------------


def test_output_is_the_same_bytes_every_time_and_the_manifest_tells_them(tmp_path, scenes):
    manifest = prepare_dataset(scenes, tmp_path / 'one', PrepareOptions(32))
    prepare_dataset(scenes, tmp_path / 'two', PrepareOptions(32))
    files = tree(tmp_path / 'one')
    assert files == tree(tmp_path / 'two')
    assert json.loads(files.pop('manifest.json')) == json.loads(json.dumps(manifest))
    assert json.loads(files.pop('labels.json'))['changed_values'] == [255]
    sums = {
        f'{tile["split"]}/{role}/{tile["name"]}': value
        for tile in manifest['files']
        for role, value in tile['sha256'].items()
    }
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert manifest['parameters']['tile'] == manifest['parameters']['stride'] == 32
    assert manifest['hsonet_mm']


def test_empty_tiles_of_train_are_thinned_out(tmp_path, official):
    full = prepare_dataset(official, tmp_path / 'full', PrepareOptions(16))
    some = prepare_dataset(official, tmp_path / 'some', PrepareOptions(16, max_empty=0.25))
    none = prepare_dataset(official, tmp_path / 'none', PrepareOptions(16, max_empty=0))
    changed = [t for t in full['files'] if t['split'] == 'train' and t['changed']]
    assert full['splits']['train']['empty_share'] > 0.5
    assert some['splits']['train']['tiles'] == len(changed) + len(changed) // 3
    assert none['splits']['train'] == full['splits']['train'] | {
        'tiles': len(changed),
        'empty_share': 0.0,
        'changed_share': none['splits']['train']['changed_share'],
    }
    assert none['splits']['test'] == full['splits']['test']
    for out, manifest in (('some', some), ('none', none)):
        for role in ('A', 'B', 'label'):
            assert (
                len(list((tmp_path / out / 'train' / role).iterdir())) == manifest['splits']['train']['tiles']
            )


def test_split_that_lost_all_tiles_is_told(tmp_path, official):
    for path in (official / 'train/label').iterdir():
        save(path, np.zeros((64, 64), np.uint8))
    manifest = prepare_dataset(official, tmp_path / 'out', PrepareOptions(32, max_empty=0.5))
    assert 'there is no train split' in manifest['warnings']


def test_seed_draws_the_empty_tiles_that_stay(tmp_path, official):
    kept = []
    for seed in range(3):
        options = PrepareOptions(16, max_empty=0.25, seed=seed)
        manifest = prepare_dataset(official, tmp_path / str(seed), options)
        kept.append({t['name'] for t in manifest['files'] if t['split'] == 'train' and not t['changed']})
    assert len({frozenset(names) for names in kept}) > 1


def test_shares_in_the_summary(tmp_path, official):
    row = prepare_dataset(official, tmp_path / 'out', PrepareOptions(32))['splits']['test']
    label = mask(4)
    tiles = [label[y : y + 32, x : x + 32] for y in (0, 32) for x in (0, 32)]
    assert row['changed_share'] == round(float((label > 0).mean()), 6)
    assert row['empty_share'] == sum(not tile.any() for tile in tiles) / 4


@pytest.mark.parametrize(
    ('options', 'warning'),
    [
        ({'stride': 40}, '--stride 40 is larger than --tile 32: pixels between tiles are lost'),
        ({'stride': 16}, 'tiles overlap in val and test too'),
        ({'border': 'drop'}, '--border drop: pixels'),
    ],
)
def test_warnings(tmp_path, official, options, warning):
    told = prepare_dataset(official, tmp_path / 'out', PrepareOptions(32, **options))['warnings']
    assert len(told) == 1
    assert told[0].startswith(warning)


def test_two_codings_are_told(tmp_path, official):
    save(official / 'val/label/val_3.png', mask(3, high=1))
    with pytest.raises(UserError, match=r'val_3\.png is coded 0/1, but .* give --changed-values 1 255'):
        prepare_dataset(official, tmp_path / 'out', PrepareOptions(64))
    prepare_dataset(official, tmp_path / 'out', PrepareOptions(64, changed_values=(1, 255)))
    assert np.array_equal(read(tmp_path / 'out/val/label/val_3.png'), mask(3))


def test_existing_output_is_kept_unless_told_otherwise(tmp_path, scenes, official):
    out = tmp_path / 'out'
    out.mkdir()
    prepare_dataset(scenes, out, PrepareOptions(64))  # an empty folder is no loss
    before = tree(out)
    with pytest.raises(UserError, match='exists already'):
        prepare_dataset(official, out, PrepareOptions(64))
    (official / 'val/A/val_3.png').write_bytes(b'broken')
    with pytest.raises(UserError, match='cannot be read'):
        prepare_dataset(official, out, PrepareOptions(64), overwrite=True)
    assert tree(out) == before
    save(official / 'val/A/val_3.png', picture(3))
    prepare_dataset(official, out, PrepareOptions(64), overwrite=True)
    assert sorted(p.name for p in (out / 'train/A').iterdir()) == [
        'train_0.png',
        'train_1.png',
        'train_2.png',
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ['official', 'out', 'scenes']


def test_link_as_output_stays_one(tmp_path, scenes):
    (tmp_path / 'disk/large').mkdir(parents=True)
    (tmp_path / 'out').symlink_to(tmp_path / 'disk/large')
    prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64))
    assert (tmp_path / 'out').is_symlink()
    assert (tmp_path / 'disk/large/manifest.json').is_file()
    assert [path.name for path in (tmp_path / 'disk').iterdir()] == ['large']


def test_folder_one_is_in_is_refused_before_any_work(tmp_path, scenes, monkeypatch):
    (tmp_path / 'out').mkdir()
    monkeypatch.chdir(tmp_path / 'out')
    with pytest.raises(UserError, match=r'^\.: cannot be replaced while it is in use: name .* as data$'):
        prepare_dataset(scenes, '.', PrepareOptions(64))
    assert list((tmp_path / 'out').iterdir()) == []


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path, scenes):
    (tmp_path / 'linked').mkdir()
    for role in ('A', 'B', 'label'):
        (tmp_path / 'linked' / role).symlink_to(scenes / role)
    (tmp_path / 'linked/again').symlink_to(tmp_path / 'linked')
    linked = prepare_dataset(tmp_path / 'linked', tmp_path / 'out', PrepareOptions(64))
    assert linked['files'] == prepare_dataset(scenes, tmp_path / 'expected', PrepareOptions(64))['files']


def test_overwrite_never_removes_what_the_tool_did_not_make(tmp_path, scenes):
    (tmp_path / 'precious').mkdir()
    (tmp_path / 'precious/thesis.txt').write_text('all of it')
    with pytest.raises(UserError, match='was not made by this tool'):
        prepare_dataset(scenes, tmp_path / 'precious', PrepareOptions(64), overwrite=True)
    for out in (scenes, scenes / 'out', tmp_path):
        with pytest.raises(UserError, match='lies inside the source or around it'):
            prepare_dataset(scenes, out, PrepareOptions(64), overwrite=True)
    assert (tmp_path / 'precious/thesis.txt').read_text() == 'all of it'


def test_interrupt_while_a_result_is_replaced_loses_none(tmp_path, scenes, monkeypatch):
    prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64))
    before = tree(tmp_path / 'out')
    interrupt_replacing(monkeypatch, 'new')
    with pytest.raises(KeyboardInterrupt):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(32), overwrite=True)
    assert tree(tmp_path / 'out') == before
    assert {path.name for path in tmp_path.iterdir()} == {'out', 'scenes'}


@pytest.mark.parametrize('name', ['out.old', 'out.partial'])
def test_folders_of_any_name_are_safe(tmp_path, scenes, name):
    """The source too: whoever has renamed an earlier result may cut it again."""
    scenes.rename(tmp_path / name)
    before = tree(tmp_path / name)
    for _ in range(2):
        prepare_dataset(tmp_path / name, tmp_path / 'out', PrepareOptions(64), overwrite=True)
    assert tree(tmp_path / name) == before
    assert {path.name for path in tmp_path.iterdir()} == {'out', name}


# ---- command line --------------------------------------------------------------------------------------


def test_main_reports_and_passes_every_option(tmp_path, scenes, capsys):
    arguments = '--tile 16 --stride 20 --border drop --block 32 --val .2 --test .3 --seed 4 --max-empty .5'
    folders = '--changed-values 255 --a A --b B --label label'
    assert (
        run_tool('prepare', [str(scenes), str(tmp_path / 'out'), *arguments.split(), *folders.split()]) == 0
    )
    manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert manifest['parameters'] == {
        'tile': 16, 'stride': 20, 'border': 'drop', 'block': 32, 'val': 0.2, 'test': 0.3, 'seed': 4,
        'max_empty': 0.5, 'changed_values': [255], 'ignored_values': [],
        'folders': ['A', 'B', 'label'], 'split_file': False,
        'reading': {'bands': None, 'stretch': None, 'nodata': None},
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert 'warning: --stride 20' in printed
    assert run_tool('prepare', [str(scenes), str(tmp_path / 'out')]) == 2
    assert 'error:' in capsys.readouterr().err


def test_progress_bar_on_a_terminal(tmp_path, scenes, monkeypatch, capsys):
    monkeypatch.setattr('sys.stderr.isatty', lambda: True)
    prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64))
    assert 'cutting' in capsys.readouterr().err


def test_tool(tmp_path, official, run_tool):
    done = run_tool('tools/prepare_dataset.py', official, tmp_path / 'out', '--tile', '32')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert 'layout LEVIR-CD, tiles of 32' in lines
    row = next(line.split() for line in lines if line.startswith('train'))
    assert row == ['train', '3', '12', '3.52%', '75.0%']
    assert lines[-1].startswith(f'written to {tmp_path / "out"}')
