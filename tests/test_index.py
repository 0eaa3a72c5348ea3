"""Which files belong together: hidden ones, names of other systems, layouts and lists of splits."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from hsonet_mm.errors import UserError
from hsonet_mm.index import belongs, by_stem, index_names, read_names
from hsonet_mm.inference.pairs import find_pairs
from hsonet_mm.texts import decode_text, printable

pytestmark = pytest.mark.any_host

ROLES = ('A', 'B', 'label')


def index(names, lists=None, templates=None):
    lists = lists or {}
    return index_names([*names, *lists], lambda name: lists[name], 'root', templates)


def files(*stems, suffix='.png'):
    return [f'{role}/{stem}{suffix}' for stem in stems for role in ROLES]


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('A/x.png', True),
        ('A/x.TIF', True),
        ('A/x.tfw', False),
        ('A/.x.png', False),
        ('A/._x.png', False),
        ('.ipynb_checkpoints/x-checkpoint.png', False),
        ('A/.ipynb_checkpoints/x.png', False),
        ('__MACOSX/A/x.png', False),
        ('A/@eaDir/x.png/SYNOPHOTO_THUMB_M.jpg', False),
        ('A/.DS_Store', False),
    ],
)
def test_what_belongs_to_a_data_set(name, expected):
    assert belongs(name) is expected


def test_names_are_compared_composed_and_without_suffix():
    apart, together = (unicodedata.normalize(form, 'été') for form in ('NFD', 'NFC'))
    assert by_stem([f'{apart}.PNG', 'b.tif', '.hidden.png']) == {'b': 'b.tif', together: f'{apart}.PNG'}
    with pytest.raises(UserError, match='have one name: keep one'):
        by_stem([f'{apart}.png', f'{together}.png'])
    found = index([f'A/{apart}.png', f'B/{together}.JPG', f'label/{together}.png'])
    assert [scene.missing() for scene in found.scenes] == [[]]
    assert found.scenes[0].files['A'] == f'A/{apart}.png'


def test_the_layout_that_explains_most_files_is_taken():
    nested = index([f'train/{role}/city/{n}.png' for role in ROLES for n in range(2)])
    assert (nested.layout, [scene.name for scene in nested.scenes]) == (
        'LEVIR-CD',
        ['train/city/0', 'train/city/1'],
    )
    dates_first = index([f'{role}/{split}/0.png' for role in ROLES for split in ('train', 'val')])
    assert [(scene.split, scene.stem) for scene in dates_first.scenes] == [('train', '0'), ('val', '0')]
    assert index([f'data/{name}' for name in files('x')], {'data/train.txt': b'x'}).scenes[0].split == 'train'


def test_a_folder_beside_those_of_the_splits_is_left_out():
    """As samples, or a harder test set."""
    splits = [f'{split}/{name}' for split in ('train', 'val') for name in files('x', 'y')]
    found = index([*splits, *(f'extra/{name}' for name in files('x', 'z'))])
    assert (found.layout, found.root) == ('LEVIR-CD', '')
    assert [scene.name for scene in found.scenes] == ['train/x', 'train/y', 'val/x', 'val/y']
    assert found.unlisted == ['extra/x', 'extra/z']
    twice = [f'{copy}/{name}' for copy in ('one', 'two') for name in splits]
    with pytest.raises(UserError, match="contains several data sets \\('one/' and 'two/'\\)"):
        index(twice)


@pytest.mark.parametrize('place', ['list/{}.txt', 'lists/{}.txt', 'splits/{}.txt', '{}.txt'])
@pytest.mark.parametrize(
    'text',
    [
        b'a.png\nb.png\n',
        b'a\r\n\r\nb\r\n',
        b'\xef\xbb\xbfa.PNG\nb.png',
        'a.png\r\nb.png\r\n'.encode('utf-16'),
        'a.png\nb.png\n'.encode('utf-16-le'),
        b'A/a.png\nA/b.png\n',
        b'A\\a.png\nA\\b.png\n',
        b'A/a.png B/a.png label/a.png\nA/b.png B/b.png label/b.png\n',
        b'"a.png"\n"b.png"\n',
    ],
    ids=[
        'plain',
        'crlf',
        'bom',
        'utf-16',
        'utf-16 without mark',
        'folders',
        'windows',
        'three files',
        'quotes',
    ],
)
def test_lists_of_splits(place, text):
    lists = {place.format('train'): text, place.format('test'): b'c d.png\n'}
    found = index(files('a', 'b', 'c d', 'e'), lists)
    assert {scene.name: scene.split for scene in found.scenes} == {
        'train/a': 'train', 'train/b': 'train', 'test/c d': 'test',
    }  # fmt: skip
    assert found.unlisted == ['e']


@pytest.mark.parametrize(
    ('lists', 'message'),
    [
        ({'list/train.txt': b'a\nz.png\n'}, "list/train.txt: names 'z', which is not there"),
        (
            {'list/train.txt': b'a\n', 'list/test.txt': b'a\n'},
            "'a', as does list/test.txt|'a', as does list/train",
        ),
        ({'list/train.txt': b'a\na.png\n'}, r'list/train.txt names some scenes more than once \(a\)'),
        ({'list/train.txt': b'\r\n'}, 'list/train.txt is empty'),
        (
            {'list/train.txt': b'a\n', 'train.txt': b'b\n'},
            'list/train.txt and train.txt are lists of one split',
        ),
    ],
)
def test_lists_that_do_not_fit(lists, message):
    with pytest.raises(UserError, match=message):
        index(files('a', 'b'), lists)


def test_lists_are_not_heeded_where_folders_tell_the_split():
    names = [f'{split}/{role}/0.png' for split in ('train', 'test') for role in ROLES]
    found = index(names, {'list/train.txt': b'anything\n'})
    assert [scene.split for scene in found.scenes] == ['test', 'train']


def test_templates_of_one_folder_for_both_dates():
    names = [f'images/flood_{n}_{when}_disaster.png' for n in range(3) for when in ('pre', 'post')]
    names += [f'targets/flood_{n}_{when}_disaster_target.png' for n in range(3) for when in ('pre', 'post')]
    templates = ('images/*_pre_disaster', 'images/*_post_disaster', 'targets/*_post_disaster_target')
    found = index(names, templates=templates)
    assert [scene.stem for scene in found.scenes] == ['flood_0', 'flood_1', 'flood_2']
    assert not any(scene.missing() for scene in found.scenes)


def test_polygons_are_labels_of_one_scene_or_of_all():
    own = index(['A/x.tif', 'B/x.tif', 'label/x.gpkg', 'label/x.gpkg-wal'])
    assert own.scenes[0].files['label'] == 'label/x.gpkg'
    shared = index(
        ['A/x.tif', 'B/x.tif', 'A/y.tif', 'B/y.tif', 'all.shp', 'all.dbf'], None, ('A', 'B', 'all.shp')
    )
    assert [scene.files['label'] for scene in shared.scenes] == ['all.shp', 'all.shp']


def test_a_line_may_hold_a_name_with_dots_and_spaces():
    assert read_names(b'site 1.2\nsite 1.3.tif\n', 'list', {'site 1.2', 'site 1.3'}) == [
        'site 1.2',
        'site 1.3',
    ]
    assert read_names(b'other.tif\n', 'list', {'site'}) == ['other']


def test_a_line_that_names_two_scenes_is_refused():
    known = {'a', 'b'}
    assert read_names(b'A/a.png B/a.png label/a.png\nb 0\n', 'list', known) == ['a', 'b']
    with pytest.raises(UserError, match=r"^list: one line names 'a' and 'b': write one scene per line"):
        read_names(b'a.png, b.png\n', 'list', known)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'cp1252'])
def test_text_of_any_editor(encoding):
    text = 'scène;après;zone 1\r\nbefore.tif;after.tif;out.tif\r\n'
    assert decode_text(text.encode(encoding)) == text


def test_names_that_are_not_utf8_can_be_printed():
    assert printable(os.fsdecode(b'caf\xe9.png')) == 'caf\\udce9.png'
    assert printable('変化 é') == '変化 é'


def test_prediction_pairs_by_the_same_rules(tmp_path):
    apart, together = (unicodedata.normalize(form, 'été') for form in ('NFD', 'NFC'))
    image = np.zeros((4, 4, 3), np.uint8)
    for path in (f'A/{apart}.png', f'B/{together}.PNG', 'A/._x.png', 'A/.ipynb_checkpoints/y.png'):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / path, format='png')
    (tmp_path / 'A/folder.png').mkdir()
    pairs = find_pairs(tmp_path / 'A', tmp_path / 'B')
    assert pairs == [(together, tmp_path / f'A/{apart}.png', tmp_path / f'B/{together}.PNG')]
