"""Tiles are the pixels of their source, and those that stay are drawn by the seed."""

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip('rasterio')

from made_up_sources import add_scene, mask, picture, read, save

from hsonet_mm.errors import UserError
from hsonet_mm.preparation.prepare import PrepareOptions, prepare_dataset

pytestmark = pytest.mark.any_host


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
    manifest = prepare_dataset(tmp_path / 's', tmp_path / 'out', PrepareOptions(tile=64, border='pad'))
    assert sorted(p.name for p in (tmp_path / 'out/train/A').iterdir()) == [
        'small_00000_00000.png',
        'whole.png',
    ]
    padded = read(tmp_path / 'out/train/A/small_00000_00000.png')
    assert padded.shape == (64, 64, 3)
    assert np.array_equal(padded[:40, :50], picture(1, 40, 50))
    assert not padded[40:].any()
    assert not padded[:, 50:].any()
    label = read(tmp_path / 'out/train/label/small_00000_00000.png')
    assert (label[:40, :50] != 127).all()
    assert (label == 127).sum() == 64 * 64 - 40 * 50
    (small,) = (tile for tile in manifest['files'] if tile['scene'].endswith('small'))
    assert small['ignored'] == 64 * 64 - 40 * 50


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


def grey_alpha(value):
    return np.dstack([picture(3), np.full((64, 64), value, np.uint8)])


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


def test_scene_smaller_than_a_tile(tmp_path, scenes):
    with pytest.raises(UserError, match='64x64 is smaller than a tile of 65'):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(65))
    with pytest.raises(UserError, match='no tile is left'):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(65, border='drop'))


def test_unreadable_image_is_also_told_with_blocks(tmp_path, scenes):
    (scenes / 'A/place4.png').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'A/place4\.png cannot be read'):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(32, block=32))


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
