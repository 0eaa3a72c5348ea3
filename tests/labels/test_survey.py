"""How the labels of a data set are coded: found out over all of them, written down, and what is suspicious told."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from hsonet_mm.datasets import ChangeDataset, MultiImgLoadAnnotations, MultiImgLoadImageFromFile, loading
from hsonet_mm.errors import UserError
from hsonet_mm.labels import (
    Figures,
    LabelCoding,
    RawLabel,
    label_remarks,
    read_survey,
    survey_labels,
    write_survey,
)

pytestmark = pytest.mark.any_host

ONES = np.zeros((16, 16), np.uint8)
ONES[3:9, 2:10] = 1  # 48 of 256
PIPELINE = [MultiImgLoadImageFromFile(), MultiImgLoadAnnotations()]


def survey(*labels, **kwargs):
    """Of arrays, or RawLabels."""
    given = {f'{n}.png': one if isinstance(one, RawLabel) else RawLabel(one) for n, one in enumerate(labels)}
    return survey_labels(dict.fromkeys(given, 'train'), given.__getitem__, **kwargs)


@pytest.mark.parametrize(('high', 'coding'), [(1, LabelCoding((1,))), (255, LabelCoding((255,)))])
def test_the_two_usual_codings(high, coding):
    found = survey(ONES * np.uint8(high), ONES * 0, ONES * np.uint8(high)).require()
    assert found.coding == coding
    assert found.splits == {'train': Figures(3, 96, 768)}


def test_one_pixel_of_another_value_is_named():
    stray = ONES.copy()
    stray[0, 0] = 2
    found = survey(ONES, stray, ONES)
    assert list(found.problems) == ['1.png']
    with pytest.raises(UserError, match=r'the label 1\.png contains the values 0, 1, 2: .*--changed-values'):
        found.require()


def test_several_classes_end_in_a_sentence_that_counts_the_others():
    with pytest.raises(
        UserError, match=r'1\.png contains the values 0, 2: .*only two classes.*; 1 more labels do not fit'
    ):
        survey(ONES, ONES * np.uint8(2), ONES * np.uint8(3)).require()
    found = survey(ONES, ONES * np.uint8(2), ONES * np.uint8(3), changed=(2, 3)).require()
    assert found.splits == {'train': Figures(3, 96, 768)}


def test_the_minority_of_two_codings_is_named():
    found = survey(ONES * np.uint8(255), ONES, ONES * np.uint8(255))
    assert list(found.problems) == ['1.png']
    assert found.coding == LabelCoding((255,))
    assert 'give --changed-values 1 255' in found.problems['1.png']
    assert not survey(ONES * np.uint8(255), ONES, changed=(1, 255)).problems


def test_colours_are_listed_for_the_one_who_has_to_name_them():
    red = np.stack([ONES * 255, ONES * 0, ONES * 0], axis=-1).astype(np.uint8)
    with pytest.raises(
        UserError, match=r'0\.png is a colour image, with 0,0,0 and 255,0,0: .*--changed-values'
    ):
        survey(red).require()
    assert survey(red, changed=((255, 0, 0),)).require().splits == {'train': Figures(1, 48, 256)}


def test_labels_that_mark_changes_only_stop():
    only = RawLabel(ONES * np.uint8(255), labelled=ONES > 0)
    with pytest.raises(
        UserError,
        match=r'0\.png has data at changed pixels only.*no label of the data set has an unchanged pixel',
    ):
        survey(only, only).require()
    assert survey(only, ONES * np.uint8(255)).require().splits == {'train': Figures(2, 96, 48 + 256)}


def test_what_is_written_down_is_read_again():
    found = survey(ONES * np.uint8(4), changed=(4, (255, 0, 0)), ignored=(9,))
    again = read_survey(json.dumps(write_survey(found)).encode(), 'labels.json')
    assert (again.coding, again.splits) == (found.coding, found.splits)
    assert 'as labels.json says' in str(again.coding)


@pytest.mark.parametrize('content', [b'', b'[]', b'{"format": 2}', b'{"format": 1, "changed_values": [1]}'])
def test_what_was_not_written_by_check_is_refused(content):
    with pytest.raises(UserError, match=r'labels\.json does not describe the coding .*hsonet check'):
        read_survey(content, 'labels.json')


def test_remarks_on_splits():
    splits = {'train': Figures(2, 30, 100), 'val': Figures(1, 0, 100), 'test': Figures(1, 51, 100)}
    assert {split: kind for split, (kind, _) in label_remarks(splits).items()} == {
        'val': 'no change', 'test': 'mostly changed',
    }  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """Two pairs a split, labels 0/1."""
    for split in ('train', 'val', 'test'):
        for name in ('a', 'b'):
            for role in ('A', 'B', 'label'):
                path = tmp_path / split / role / f'{name}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(ONES if role == 'label' else np.zeros((16, 16, 3), np.uint8)).save(path)
    return tmp_path


@pytest.fixture
def told(monkeypatch):
    messages = []
    monkeypatch.setattr(loading, 'print_log', lambda text, **_: messages.append(text))
    monkeypatch.setattr(loading, '_told', set())
    return messages


def training(root, **kwargs):
    prefix = {'img_path_from': 'train/A', 'img_path_to': 'train/B', 'seg_map_path': 'train/label'}
    return ChangeDataset(**{'data_root': str(root), 'data_prefix': prefix, 'pipeline': PIPELINE, **kwargs})


@pytest.mark.parametrize('how', [{}, {'split': 'train', 'data_prefix': None}])
def test_training_looks_at_the_labels_of_all_splits(root, told, how):
    np.testing.assert_array_equal(training(root, **how)[0]['gt_seg_map'], ONES)
    assert told == ['6 labels are coded 0/1; hsonet check records this']
    Image.fromarray(ONES * np.uint8(2)).save(root / 'test/label/b.png')
    with pytest.raises(UserError, match=r'test/label/b\.png contains the values 0, 2'):
        training(root, **how)
    data = training(root, changed_values=[1, 2], **how)
    np.testing.assert_array_equal(data[0]['gt_seg_map'], ONES)


def test_training_reads_what_is_written_down(root, told):
    declared = survey(ONES, changed=(0,))
    (root / 'labels.json').write_text(json.dumps(write_survey(declared)))
    np.testing.assert_array_equal(training(root)[0]['gt_seg_map'], 1 - ONES)
    assert 'train: more than half of its pixels are changed' in told[0]
    np.testing.assert_array_equal(training(root, changed_values=1)[0]['gt_seg_map'], ONES)
    (root / 'labels.json').write_text(json.dumps(write_survey(survey(ONES))))
    Image.fromarray(ONES * np.uint8(255)).save(root / 'train/label/a.png')
    with pytest.raises(UserError, match=r'a\.png contains 255, .*coded 0/1, as .*labels\.json says'):
        training(root)[0]


def test_training_warns_of_masks_without_change_and_of_inverted_ones(root, told):
    for path in root.glob('val/label/*.png'):
        Image.fromarray(ONES * 0).save(path)
    for path in root.glob('test/label/*.png'):
        Image.fromarray(1 - ONES).save(path)
    training(root)
    assert [text.split(': ', 1)[1].split(':')[0] for text in told[1:]] == ['val', 'test']


@pytest.mark.parametrize('rooted', [True, False])
@pytest.mark.parametrize(
    ('label', 'remark'),
    [(1 - ONES, 'more than half of its pixels are changed'), (ONES * 0, 'no mask has a changed pixel')],
)
def test_labels_of_no_split_are_named_by_their_folder(tmp_path, told, label, remark, rooted):
    for role in ('A', 'B', 'label'):
        (tmp_path / role).mkdir()
        image = label if role == 'label' else np.zeros((16, 16, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / role / 'a.png')
    folders = {'img_path_from': 'A', 'img_path_to': 'B', 'seg_map_path': 'label'}
    if rooted:
        training(tmp_path, data_prefix=folders)
    else:
        training(None, data_root=None, data_prefix={key: f'{tmp_path}/{one}' for key, one in folders.items()})
    assert told[1].startswith(f'{tmp_path if rooted else tmp_path / "label"}: {remark}')


def test_the_pipeline_may_declare_it(root):
    data = training(
        root, pipeline=[PIPELINE[0], MultiImgLoadAnnotations(changed_values=0, ignore_value=[7, 8])]
    )
    np.testing.assert_array_equal(data[0]['gt_seg_map'], 1 - ONES)


def test_splits_of_lists_are_trained_in_place(tmp_path):
    for number in range(4):
        for role in ('A', 'B', 'label'):
            (tmp_path / role).mkdir(exist_ok=True)
            image = ONES * np.uint8(255) if role == 'label' else np.full((16, 16, 3), number, np.uint8)
            Image.fromarray(image).save(tmp_path / role / f'p{number}.png')
    (tmp_path / 'list').mkdir()
    (tmp_path / 'list/train.txt').write_bytes(b'p2.png\r\np0.png\r\n')
    (tmp_path / 'list/val.txt').write_text('p1.png')
    data = training(tmp_path)  # train/A and the others are not there
    assert [int(sample['img'][0][0, 0, 0]) for sample in data] == [0, 2]
    assert len(training(tmp_path, split='val', data_prefix=None)) == 1
    with pytest.raises(UserError, match=r'has only train, val, but test is needed: .*list/test\.txt'):
        training(tmp_path, split='test', data_prefix=None)
    folders = tmp_path.with_name(f'{tmp_path.name}_folders')
    for role in ('A', 'B', 'label'):
        shutil.copytree(tmp_path / role, folders / 'train' / role)
    with pytest.raises(
        UserError, match='has only train, but val is needed: add the folders of val, or split'
    ):
        training(folders, split='val', data_prefix=None)  # lists beside folders of splits say nothing
    (tmp_path / 'list/val.txt').write_text('p1.png\np0.png')
    with pytest.raises(UserError, match=r"val\.txt: names 'p0', as does list/train\.txt"):
        training(tmp_path)
