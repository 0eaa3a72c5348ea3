"""The demo data in files: the same bytes again, whole or not at all."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hsonet_mm.demo import HARD_CASES, generate, make_pair
from hsonet_mm.errors import UserError

pytestmark = pytest.mark.any_host


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*') if path.is_file()}


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


@pytest.mark.parametrize('size', [64, 100, 333])
def test_any_size(size):
    pair = make_pair(size, 1, 'val', 0)
    assert pair.images[0].shape == (size, size, 3)
    assert pair.ids.shape == pair.label.shape == (size, size)
