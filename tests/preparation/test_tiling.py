"""Positions of tiles, and scenes by split."""

import json
import random

import numpy as np
import pytest

pytest.importorskip('rasterio')

from made_up_sources import add_scene, splits_of

from hsonet_mm.errors import UserError
from hsonet_mm.index import SceneFiles
from hsonet_mm.preparation.prepare import PrepareOptions, prepare_dataset
from hsonet_mm.preparation.tiling import Unit, assign_splits, blocks, cut, offsets, read_split_file

pytestmark = pytest.mark.any_host


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
    assert cut(np.ones((5, 7), np.uint8), 3, 4, 4, beyond=9).tolist() == [[1, 1, 1, 9]] * 2 + [[9] * 4] * 2


def test_blocks_of_a_scene():
    scene = SceneFiles('s', None, 's', {})
    assert blocks(scene, 60, 60, 64, 32) == [Unit('s', scene)]
    units = blocks(scene, 70, 130, 64, 32)
    assert [(u.y, u.x, u.height, u.width) for u in units] == [(0, 0, 70, 64), (0, 64, 70, 66)]
    assert [u.name for u in units] == ['s#0_0', 's#0_64']


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


def test_split_files_in_json_with_numbers(tmp_path):
    path = tmp_path / 's.json'
    path.write_text('{"train": [1, 2], "val": [3]}')
    assert read_split_file(path) == {'1': 'train', '2': 'train', '3': 'val'}
    for text in ('{"a": 1}', '{"a": "train", "b": ["c"]}'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"invalid split .* of '[ab]': expected train, val or test"):
            read_split_file(path)


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


def test_two_scenes_of_one_name_in_one_split(tmp_path):
    for split in ('train', 'test'):
        add_scene(tmp_path / 's' / split, 'x', 1)
    (tmp_path / 'splits.csv').write_text('train/x,train\ntest/x,train\n')
    with pytest.raises(UserError, match='two scenes give the tile train/x'):
        prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(64), tmp_path / 'splits.csv')
