"""The demo data: scenes that repeat, labels and types that agree with what was drawn, shadows that follow the sun."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from hsonet_mm.demo import HARD_CASES, generate, make_pair
from hsonet_mm.demo.events import plan_scene
from hsonet_mm.demo.objects import SMALLEST
from hsonet_mm.demo.render import cast_shadow, render
from hsonet_mm.demo.scenes import Building, Rect, ScenePlan, Sun, Tree
from hsonet_mm.errors import UserError

pytestmark = pytest.mark.any_host


@pytest.fixture(scope='module')
def pairs():
    return [make_pair(256, 0, 'test', index) for index in range(24)]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*') if path.is_file()}


# -- the files
def test_same_parameters_give_same_bytes(tmp_path):
    manifests = [generate(tmp_path / name, 2, 1, 1, size=96, seed=3) for name in ('one', 'two')]
    one, two = contents(tmp_path / 'one'), contents(tmp_path / 'two')
    assert manifests[0] == manifests[1] == json.loads(one['manifest.json'])
    assert one == two
    assert len(one) == 1 + 4 * 5
    other = contents(tmp_path / 'three') if generate(tmp_path / 'three', 2, 1, 1, size=96, seed=4) else {}
    pictures = [name for name in one if '/A/' in name or '/B/' in name]
    assert len(pictures) == 8
    assert all(one[name] != other[name] for name in pictures)


def test_a_scene_depends_neither_on_counts_nor_on_other_splits(tmp_path):
    generate(tmp_path / 'few', 1, 0, 1, size=64)
    generate(tmp_path / 'many', 3, 1, 1, size=64)
    few, many = contents(tmp_path / 'few'), contents(tmp_path / 'many')
    del few['manifest.json']
    assert few.items() <= many.items()
    images = [data for name, data in many.items() if '/A/' in name or '/B/' in name]
    assert len(set(images)) == len(images) == 10


def test_layout_and_formats(tmp_path):
    manifest = generate(tmp_path / 'set', 1, 1, 2, size=80, seed=5)
    for split, number in (('train', 1), ('val', 1), ('test', 2)):
        folder = tmp_path / 'set' / split
        stems = [f'{split}_{index:04d}' for index in range(number)]
        for name in ('A', 'B', 'label', 'objects'):
            assert sorted(path.stem for path in (folder / name).glob('*.png')) == stems
        changed = 0
        for index, stem in enumerate(stems):
            pair = make_pair(80, 5, split, index)
            read = [
                cv2.imread(str(folder / name / f'{stem}.png'), -1) for name in ('A', 'B', 'label', 'objects')
            ]
            for image, drawn in zip(read[:2], pair.images, strict=True):
                assert image.shape == (80, 80, 3)
                np.testing.assert_array_equal(image[..., ::-1], drawn)
            assert read[2].dtype == np.uint8
            assert set(np.unique(read[2])) <= {0, 255}
            np.testing.assert_array_equal(read[2], pair.label)
            assert read[3].dtype == np.uint16
            np.testing.assert_array_equal(read[3], pair.ids)
            listed = json.loads((folder / 'objects' / f'{stem}.json').read_text())
            assert [thing['kind'] for thing in listed['objects']] == [thing.kind for thing in pair.objects]
            assert listed['suns'][0]['azimuth'] == pair.scene.suns[0].azimuth
            assert {'light', 'illumination', 'shift'} <= listed.keys()
            changed += np.count_nonzero(pair.label)
        entry = manifest['splits'][split]
        assert entry['pairs'] == number
        assert entry['changed_share'] == pytest.approx(changed / number / 80**2, abs=1e-6)
        assert list(entry['objects']) == list(HARD_CASES)


def test_a_complete_set_is_reused(tmp_path):
    made = generate(tmp_path / 'set', 1, 0, 0, size=64)
    image = tmp_path / 'set/train/A/train_0000.png'
    image.write_bytes(b'mine')
    assert generate(tmp_path / 'set', 1, 0, 0, size=64) == made
    assert image.read_bytes() == b'mine'


def test_other_contents_are_refused(tmp_path):
    generate(tmp_path / 'set', 1, 0, 0, size=64)
    with pytest.raises(UserError, match='other parameters'):
        generate(tmp_path / 'set', 1, 0, 0, size=64, seed=1)
    (tmp_path / 'set/train/B/train_0000.png').unlink()
    with pytest.raises(UserError, match='added or removed'):
        generate(tmp_path / 'set', 1, 0, 0, size=64)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.txt').write_text('do not overwrite')
    with pytest.raises(UserError, match='mine exists and contains no complete demo data'):
        generate(tmp_path / 'mine', 1, 0, 0, size=64)
    (tmp_path / 'mine/manifest.json').write_text('[]')
    with pytest.raises(UserError, match='mine exists and contains no complete demo data'):
        generate(tmp_path / 'mine', 1, 0, 0, size=64)
    (tmp_path / 'empty').mkdir()
    assert generate(tmp_path / 'empty', 1, 0, 0, size=64)['splits']['train']['pairs'] == 1


def test_places_where_no_folder_can_be_made(tmp_path):
    (tmp_path / 'file').touch()
    for place in (tmp_path / 'file/set', tmp_path / 'file/deep/set', Path('/proc/none/set')):
        with pytest.raises(UserError, match=f'^{place} cannot be created '):
            generate(place, 1, 0, 0, size=64)
    assert [path.name for path in tmp_path.iterdir()] == ['file']


@pytest.mark.parametrize(
    'arguments', [{'size': 63}, {'train': -1}, {'train': 0, 'val': 0, 'test': 0}, {'seed': -1}], ids=str
)
def test_parameters_out_of_range(tmp_path, arguments):
    with pytest.raises(UserError, match=r'^invalid demo data .*: expected a size'):
        generate(tmp_path / 'set', **{'train': 1, 'val': 0, 'test': 0, **arguments})
    assert not (tmp_path / 'set').exists()


@pytest.mark.parametrize(
    ('failure', 'told'),
    [(OSError('disk full'), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=['disk', 'kill'],
)
def test_a_broken_run_leaves_nothing_that_looks_complete(tmp_path, monkeypatch, failure, told):
    done = []

    def write_bytes(self, data):
        done.append(str(self))
        if len(done) == 6:
            raise failure
        return real(self, data)

    real = Path.write_bytes
    monkeypatch.setattr(Path, 'write_bytes', write_bytes)
    with pytest.raises(told):
        generate(tmp_path / 'set', 3, 0, 0, size=64)
    assert len(done) == 6
    assert not any(tmp_path.iterdir())
    assert all('/set/' in path and not path.startswith(str(tmp_path / 'set')) for path in done)


# -- labels and types
def test_label_is_the_union_of_the_footprints_of_changed_buildings(pairs):
    changes = 0
    for pair in pairs:
        expected = np.zeros((256, 256), bool)
        for building in pair.scene.buildings:
            if building.changed:
                window, mask = building.footprint(256)
                expected[window] |= mask
                changes += 1
        np.testing.assert_array_equal(pair.label == 255, expected)
        assert set(np.unique(pair.label)) <= {0, 255}
    assert changes > 100


def test_objects_agree_with_the_map(pairs):
    for pair in pairs:
        assert [thing.id for thing in pair.objects] == list(range(1, len(pair.objects) + 1))
        assert set(np.unique(pair.ids)) - {0} == {thing.id for thing in pair.objects}
        for thing in pair.objects:
            mask = pair.ids == thing.id
            rows, columns = np.nonzero(mask)
            assert thing.area == mask.sum()
            assert thing.bbox == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert thing.changed == HARD_CASES[thing.kind].changed == bool(pair.label[mask].any())
            assert (thing.kind == 'small') == (thing.changed and thing.area < 100)
            assert thing.changed or thing.area >= SMALLEST


def test_every_kind_occurs_several_times(pairs):
    kinds = [{thing.kind for thing in pair.objects} for pair in pairs]
    often = {kind: sum(kind in one for one in kinds) for kind in HARD_CASES}
    assert min(often.values()) >= 2, often
    assert {kind for one in kinds for kind in one} == set(HARD_CASES)


def test_most_buildings_stay_and_the_changed_share_is_that_of_real_data(pairs):
    shares = [np.mean(pair.label > 0) for pair in pairs]
    assert 0.04 < np.mean(shares) < 0.1
    assert max(shares) < 0.16
    for pair in pairs:
        changed = sum(building.changed for building in pair.scene.buildings)
        assert changed <= 0.45 * len(pair.scene.buildings)
    fates = [building.present for pair in pairs for building in pair.scene.buildings]
    assert {(True, True), (True, False), (False, True)} == set(fates)


def test_types_agree_with_what_was_drawn():
    found = dict.fromkeys(('occluded', 'shadowed', 'low_contrast', 'vehicle', 'moved_shadow', 'cloud'), 0)
    for index in range(12):
        rng = np.random.default_rng([0, 2, index])  # of make_pair(256, 0, 'test', index)
        done = render(plan_scene(256, rng), rng)
        pair = make_pair(256, 0, 'test', index)
        np.testing.assert_array_equal(done.images[1], pair.images[1])
        veil = [(crown > 0) | (cloud > 0.3) for crown, cloud in zip(done.crowns, done.clouds, strict=True)]
        for thing in pair.objects:
            mask = pair.ids == thing.id
            found[thing.kind] = found.get(thing.kind, 0) + 1
            if thing.kind == 'occluded':
                assert max(np.mean(one[mask]) for one in veil) >= 0.2
            elif thing.kind == 'shadowed':
                assert max(np.mean(one[mask]) for one in done.shadows) >= 0.25
            elif thing.kind in ('vehicle', 'repainted_roof', 'resurfacing'):
                assert np.all(np.abs(done.colours[1] - done.colours[0])[mask].max(-1) > 8)
            elif thing.kind == 'moved_shadow':
                assert np.all(done.shadows[0][mask] != done.shadows[1][mask])
            elif thing.kind == 'cloud':
                assert max(one[mask].min() for one in done.clouds) > 0.3
    assert min(found.values()) > 0, found


def test_conditions_of_the_pair_are_typed(pairs):
    for pair in pairs:
        kinds = {thing.kind for thing in pair.objects}
        far = math.hypot(*pair.scene.shift)
        assert far == 0 or 1 <= far <= 2
        assert ('misregistration' in kinds) <= (far > 0)
        assert ('illumination' in kinds) == pair.scene.illumination == bool(np.all(pair.ids > 0))
        assert ('cloud' in kinds) <= bool(pair.scene.clouds)


# -- rendering
@pytest.mark.parametrize('azimuth', [0, 90, 135, 200, 300])
@pytest.mark.parametrize(('elevation', 'scale'), [(35, 1), (55, 1), (40, 2)])
def test_shadow_points_away_from_the_sun_and_has_the_right_length(azimuth, elevation, scale):
    sun, side = Sun(azimuth, elevation), 121 * scale
    tower = np.zeros((side, side), np.float32)
    tower[57 * scale : 64 * scale, 57 * scale : 64 * scale] = 12  # 7 x 7 pixels, 12 high
    rows, columns = np.nonzero(cast_shadow(tower, sun, scale) > 0.5)
    x, y = (columns + 0.5) / scale - 60.5, (rows + 0.5) / scale - 60.5
    east, north = math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))  # where the sun is
    along, across = y * north - x * east, x * north + y * east
    reach = 3 * (abs(east) + abs(north))  # of the centres of the tower's cells, along and across
    assert along.max() == pytest.approx(reach + 12 / math.tan(math.radians(elevation)), abs=2)
    assert along.min() > -reach
    assert np.abs(across).max() == pytest.approx(reach, abs=1.5)
    assert np.diff(np.sort(along)).max() < 1.5  # no gaps


def test_shadow_is_that_of_every_step_tried_one_by_one():
    rng = np.random.default_rng(0)
    surface = np.repeat(np.repeat(rng.uniform(0, 10, (8, 8)), 8, 0), 8, 1).astype(np.float32)
    sun = Sun(270, 40)  # light from the left, so that shifts are whole cells
    drop, expected = math.tan(math.radians(40)), np.zeros((64, 64), bool)
    for step in range(1, 64):
        expected[:, step:] |= surface[:, :-step] - step * drop > surface[:, step:] + 0.15 + 0.25
    np.testing.assert_array_equal(cast_shadow(surface, sun) > 0.5, expected)


def test_level_ground_has_no_shadow():
    assert not cast_shadow(np.full((32, 32), 7, np.float32), Sun(180, 40)).any()


@pytest.mark.parametrize('roof', ['flat', 'gable', 'hip'])
def test_the_sunny_side_of_a_roof_is_brighter_and_its_shadow_darkens_the_ground(roof):
    grey = (130.0, 130.0, 130.0)
    house = Building((Rect(48, 48, 40, 24, 0.0),), roof, 12, (grey, grey))
    suns = Sun(180, 45), Sun(0, 45)  # from below, from above in the image
    scene = ScenePlan(96, suns, (grey, grey), buildings=[house])
    done = render(scene, np.random.default_rng(0))
    for image, sunny, shady, ground in (
        (done.images[0], slice(50, 58), slice(38, 46), slice(27, 34)),
        (done.images[1], slice(38, 46), slice(50, 58), slice(62, 69)),
    ):
        bright, dark = (image[rows, 34:62].mean() for rows in (sunny, shady))
        assert bright > dark + 15 if roof != 'flat' else abs(bright - dark) < 8
        open_ground = image[:, :20].mean()
        assert image[ground, 34:62].mean() < 0.7 * open_ground
    assert done.shadows[0][30, 48]
    assert not done.shadows[0][66, 48]
    assert done.shadows[1][66, 48]


def test_the_second_image_is_shifted_as_said():
    grey = (120.0, 120.0, 120.0)
    scene = ScenePlan(64, (Sun(180, 45), Sun(180, 45)), ((90, 120, 80), grey), shift=(2.0, 0.0))
    first, second = render(scene, np.random.default_rng(1)).images
    first, second = (cv2.GaussianBlur(image.astype(np.float32), (5, 5), 1) for image in (first, second))
    error = {dx: np.abs(second[:, 8:-8] - np.roll(first, dx, 1)[:, 8:-8]).mean() for dx in range(-3, 4)}
    assert min(error, key=error.get) == 2


def test_a_tree_outside_the_image_changes_nothing():
    grey = (120.0, 120.0, 120.0)
    images = []
    for trees in ([], [Tree(-9, 30, 6, (grey, grey), 0), Tree(80, 30, 6, (grey, grey), 1)]):
        scene = ScenePlan(64, (Sun(180, 45), Sun(90, 45)), (grey, grey), trees=trees)
        images.append(render(scene, np.random.default_rng(1)).images)
    np.testing.assert_array_equal(*images)


def test_images_look_like_photographs_in_numbers(pairs):
    for pair in pairs:
        for image in pair.images:
            assert image.std() > 15
            assert 40 < image.mean() < 190
            assert np.mean((image == 0) | (image == 255)) < 0.15


@pytest.mark.parametrize('size', [64, 100, 333])
def test_any_size(size):
    pair = make_pair(size, 1, 'val', 0)
    assert pair.images[0].shape == (size, size, 3)
    assert pair.ids.shape == pair.label.shape == (size, size)
