"""The data set of image pairs: its samples, and one sentence for every mistake."""

from pathlib import Path

import numpy as np
import pytest
from pair_files import PREFIX, SIZE, dataset, photo, save

from hsonet_mm.config import expand_variables
from hsonet_mm.datasets import MultiImgLoadAnnotations, MultiImgLoadImageFromFile
from hsonet_mm.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pairs, the second one in a folder of its own."""
    for number, stem in enumerate(('one', 'sub/two')):
        save(photo(number), tmp_path / f'train/A/{stem}.png')
        save(photo(number + 9), tmp_path / f'train/B/{stem}.png')
        save(np.eye(*SIZE, dtype=np.uint8) * 255, tmp_path / f'train/label/{stem}.png')
    return tmp_path


class TestChangeDataset:
    def test_samples(self, root):
        data = dataset(root)
        assert len(data) == 2
        assert data.metainfo['classes'] == ('unchanged', 'changed')
        sample = data.get_data_info(1)
        assert sample['img_path'] == [str(root / 'train/A/sub/two.png'), str(root / 'train/B/sub/two.png')]
        assert sample['seg_map_path'] == str(root / 'train/label/sub/two.png')
        assert sample['format_seg_map'] == 'to_binary'
        assert sample['seg_fields'] == []
        assert sample['reduce_zero_label'] is False
        assert sample['label_map'] is None

    def test_the_suffix_may_differ_between_dates_and_label(self, root):
        (root / 'train/A/one.png').rename(root / 'train/A/one.TIF')
        (root / 'train/B/one.png').rename(root / 'train/B/one.jpeg')
        (root / 'train/label/one.png').rename(root / 'train/label/one.bmp')
        (root / 'train/A/one.tfw').write_text('not an image')
        sample = dataset(root).get_data_info(0)
        assert [Path(path).suffix for path in sample['img_path']] == ['.TIF', '.jpeg']
        assert sample['seg_map_path'].endswith('label/one.bmp')

    def test_a_suffix_restricts_and_is_only_taken_at_the_end(self, root):
        save(photo(), root / 'train/A/x.png.jpg')
        save(photo(), root / 'train/B/x.png.jpg')
        save(np.zeros(SIZE, np.uint8), root / 'train/label/x.png.png')
        assert len(dataset(root, img_suffix='.png')) == 2
        jpg = dataset(root, img_suffix='.jpg', seg_map_suffix='.png')
        assert jpg.get_data_info(0)['seg_map_path'].endswith('label/x.png.png')

    def test_a_suffix_may_be_written_large(self, root):
        for folder in PREFIX.values():
            (root / folder / 'one.png').rename(root / folder / 'one.PNG')
        assert len(dataset(root, img_suffix='.png', seg_map_suffix='.png')) == 2

    def test_annotation_file(self, root):
        (root / 'list.txt').write_text('sub/two.png\n\none\n')
        data = dataset(root, ann_file='list.txt')
        assert [Path(data.get_data_info(i)['img_path'][0]).stem for i in range(2)] == ['two', 'one']

    def test_without_labels_for_prediction(self, root):
        data = dataset(
            root, data_prefix={'img_path_from': 'train/A', 'img_path_to': 'train/B'}, test_mode=True
        )
        assert 'seg_map_path' not in data.get_data_info(0)

    def test_indices_and_reordered_classes(self, root):
        data = dataset(
            root,
            indices=1,
            metainfo={'classes': ('changed', 'unchanged')},
            pipeline=[MultiImgLoadImageFromFile(), MultiImgLoadAnnotations()],
        )
        assert len(data) == 1
        np.testing.assert_array_equal(data[0]['gt_seg_map'], 1 - np.eye(*SIZE))

    @pytest.mark.parametrize(
        ('value', 'written', 'path'),
        [
            ('/x', '${CD_ROOT}/levir', '/x/levir'),
            ('/x', '${CD_ROOT:-data/LEVIR-CD}', '/x'),
            (None, '${CD_ROOT:-data/LEVIR-CD}', 'data/LEVIR-CD'),
            ('', '${CD_ROOT:-data/LEVIR-CD}', 'data/LEVIR-CD'),
            (None, 'plain/$HOME', 'plain/$HOME'),
        ],
    )
    def test_environment_variables(self, monkeypatch, value, written, path):
        monkeypatch.delenv('CD_ROOT', raising=False)
        if value is not None:
            monkeypatch.setenv('CD_ROOT', value)
        assert expand_variables(written) == path

    def test_data_root_from_the_environment(self, root, monkeypatch):
        monkeypatch.setenv('CD_ROOT', str(root))
        assert len(dataset('${CD_ROOT:-nowhere}')) == 2

    def test_unset_variable(self, monkeypatch):
        monkeypatch.delenv('CD_ROOT', raising=False)
        with pytest.raises(UserError, match=r'environment variable CD_ROOT.*--data-root'):
            dataset('${CD_ROOT}')

    def test_missing_root_names_the_ways_to_give_it(self, tmp_path, monkeypatch):
        monkeypatch.delenv('CD_ROOT', raising=False)
        with pytest.raises(UserError, match=r'nowhere does not exist.*--data-root.*CD_ROOT'):
            dataset(f'${{CD_ROOT:-{tmp_path}/nowhere}}')

    def test_missing_folder(self, root):
        with pytest.raises(UserError, match=r'val/B does not exist.*img_path_to'):
            dataset(root, data_prefix={**PREFIX, 'img_path_to': 'val/B'})

    def test_missing_prefix(self, root):
        with pytest.raises(UserError, match=r'^invalid data_prefix without img_path_to'):
            dataset(root, data_prefix={'img_path_from': 'train/A'})

    def test_empty_split(self, tmp_path):
        for folder in PREFIX.values():
            (tmp_path / folder).mkdir(parents=True)
        with pytest.raises(UserError, match=r'train/A contains no image'):
            dataset(tmp_path)

    @pytest.mark.parametrize(
        ('folder', 'what'),
        [('A', 'image of the first date'), ('B', 'image of the second date'), ('label', 'label')],
    )
    def test_incomplete_pair(self, root, folder, what):
        (root / f'train/{folder}/one.png').unlink()
        with pytest.raises(UserError, match=f'1 of 2 pairs have no {what} in .*train/{folder} .one.'):
            dataset(root)

    def test_label_alone(self, root):
        (root / 'train/A/one.png').unlink()
        (root / 'train/B/one.png').unlink()
        with pytest.raises(
            UserError, match=r'1 of 2 pairs have no image of the first date in .*train/A .one.'
        ):
            dataset(root)

    def test_many_incomplete_pairs_are_not_all_listed(self, root):
        for number in range(5):
            save(photo(), root / f'train/A/extra{number}.png')
        with pytest.raises(UserError, match=r'extra0, extra1, extra2 and 2 more'):
            dataset(root)

    def test_two_files_of_one_name(self, root):
        save(photo(), root / 'train/A/one.jpg')
        with pytest.raises(UserError, match=r'one\.jpg and .*one\.png have one name'):
            dataset(root)

    def test_annotation_file_missing_or_empty_or_wrong(self, root):
        with pytest.raises(UserError, match=r'list.txt does not exist'):
            dataset(root, ann_file='list.txt')
        (root / 'list.txt').write_text('\n')
        with pytest.raises(UserError, match=r'list.txt is empty'):
            dataset(root, ann_file='list.txt')
        (root / 'list.txt').write_text('three\n')
        with pytest.raises(UserError, match=r'first date.*three'):
            dataset(root, ann_file='list.txt')
        (root / 'list.txt').write_text('one\nsub/two\none.png\n')
        with pytest.raises(UserError, match=r'list.txt names some scenes more than once \(one\)'):
            dataset(root, ann_file='list.txt')
