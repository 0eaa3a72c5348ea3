"""The files of a data set: official layouts, own folders, lists and archives."""

import os
import zipfile

import numpy as np
import pytest

pytest.importorskip('rasterio')

from made_up_sources import add_scene, mask, picture, read, save, splits_of, tree

from hsonet_mm.cli import run_tool
from hsonet_mm.datasets import ChangeDataset, MultiImgLoadImageFromFile
from hsonet_mm.errors import UserError
from hsonet_mm.preparation.prepare import PrepareOptions, prepare_dataset
from hsonet_mm.preparation.sources import Source

pytestmark = pytest.mark.any_host


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


def test_names_in_other_encodings_are_read_and_printed(tmp_path, scenes, capsys):
    for path in list(scenes.glob('*/place0.png')):
        path.rename(path.with_name(os.fsdecode(b'caf\xe9.png')))
    (scenes / 'list').mkdir()
    (scenes / 'list/train.txt').write_bytes(b''.join(b'place%d\n' % n for n in range(1, 9)))
    assert run_tool('prepare', [str(scenes), str(tmp_path / 'out'), '--tile', '64']) == 0
    assert '2 scenes in no split, left out: caf\\udce9, place9' in capsys.readouterr().out
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
    assert manifest['warnings'] == ['1 scene in no split, left out: place9']


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


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path, scenes):
    (tmp_path / 'linked').mkdir()
    for role in ('A', 'B', 'label'):
        (tmp_path / 'linked' / role).symlink_to(scenes / role)
    (tmp_path / 'linked/again').symlink_to(tmp_path / 'linked')
    linked = prepare_dataset(tmp_path / 'linked', tmp_path / 'out', PrepareOptions(64))
    assert linked['files'] == prepare_dataset(scenes, tmp_path / 'expected', PrepareOptions(64))['files']
