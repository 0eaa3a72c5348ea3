"""The breakdown by hard case, against hand-made cases and a brute-force count."""

import json
from collections import defaultdict

import cv2
import numpy as np
import pytest
import torch

from hsonet_mm.demo import BACKGROUND, HARD_CASES, generate
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.hard_case_metric import (
    HardCaseMetric,
    count_objects,
    hard_case_groups,
    hard_case_rows,
    hard_case_table,
)
from hsonet_mm.registry import METRICS


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('hard_cases') / 'set'
    generate(root, 0, 0, 6, size=128)
    return root


def sample(image, pred, probs=None):
    """What an evaluator hands to a metric."""
    paths = [str(image), str(image).replace('/A/', '/B/')]
    made = {'img_path': paths, 'pred_sem_seg': {'data': torch.as_tensor(pred)[None].long()}}
    if probs is not None:
        made['seg_logits'] = {'data': torch.as_tensor(probs)[None].float()}
    return made


def write_objects(split, ids, kinds):
    (split / 'objects').mkdir(parents=True)
    cv2.imwrite(str(split / 'objects/x.png'), ids)
    objects = [{'id': number, 'kind': kind} for number, kind in kinds.items()]
    (split / 'objects/x.json').write_text(json.dumps({'objects': objects}))
    return split / 'A/x.jpg'


@pytest.fixture
def hand_made(tmp_path):
    """Rows of ten pixels: two plain changes, a car, a shadow, and background."""
    ids = np.repeat(np.array([1, 2, 3, 4, 0], np.uint16)[:, None], 10, 1)
    image = write_objects(tmp_path / 'test', ids, {1: 'plain', 2: 'plain', 3: 'vehicle', 4: 'moved_shadow'})
    pred = np.zeros((5, 10), np.int64)
    for row, called in enumerate((5, 4, 1, 0, 3)):
        pred[row, :called] = 1
    return image, pred


def test_hand_made_case(hand_made, tmp_path):
    image, pred = hand_made
    metric = HardCaseMetric(out_file=str(tmp_path / 'new/hard.json'))
    metric.process(None, [sample(image, pred)])
    assert metric.evaluate(1) == {
        'hard/plain/recall': 0.45,
        'hard/plain/found': 0.5,  # 5 of 10 pixels are found, 4 of 10 are not
        'hard/plain/objects': 2,
        'hard/vehicle/false_alarm': 0.1,
        'hard/vehicle/alarmed': 1.0,  # 1 of 10 pixels is an alarm
        'hard/vehicle/objects': 1,
        'hard/moved_shadow/false_alarm': 0.0,
        'hard/moved_shadow/alarmed': 0.0,
        'hard/moved_shadow/objects': 1,
        'hard/background/false_alarm': 0.3,
        'hard/background/alarmed': 1.0,
        'hard/background/objects': 1,
    }
    report = json.loads((tmp_path / 'new/hard.json').read_text())
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['hard.json']
    assert (report['threshold'], report['found_at'], report['alarmed_at'], report['images']) == (
        'model',
        0.5,
        0.1,
        1,
    )
    assert [row['kind'] for row in report['rows']] == [*HARD_CASES, BACKGROUND]
    plain = report['rows'][0]
    assert (plain['objects'], plain['pixels'], plain['pixel_rate'], plain['object_rate']) == (
        2,
        20,
        0.45,
        0.5,
    )
    assert plain['changed']
    assert plain['description'] == HARD_CASES['plain'].description


@pytest.mark.parametrize('pixels', [10, 20, 30, 70, 130, 1990])
def test_limits_include_their_value(pixels):
    rows = {
        row['kind']: row
        for row in hard_case_rows([('vehicle', pixels, pixels // 10), ('plain', pixels, pixels // 2)])
    }
    assert rows['vehicle']['object_rate'] == rows['plain']['object_rate'] == 1
    below = [('vehicle', pixels, pixels // 10 - 1), ('plain', pixels, pixels // 2 - 1)]
    rows = {row['kind']: row for row in hard_case_rows(below)}
    assert rows['vehicle']['object_rate'] == rows['plain']['object_rate'] == 0


def brute_force(data, preds):
    """Kind -> pixels, called, objects, hits; pixel by pixel."""
    total = defaultdict(lambda: [0, 0, 0, 0])
    for stem, pred in preds.items():
        ids = cv2.imread(str(data / f'test/objects/{stem}.png'), cv2.IMREAD_UNCHANGED)
        listed = json.loads((data / f'test/objects/{stem}.json').read_text())['objects']
        for thing in [*listed, {'id': 0, 'kind': BACKGROUND, 'changed': False}]:
            values = [bool(pred[y, x]) for y, x in zip(*np.nonzero(ids == thing['id']), strict=True)]
            if values:
                entry = total[thing['kind']]
                entry[0] += len(values)
                entry[1] += sum(values)
                entry[2] += 1
                entry[3] += sum(values) / len(values) >= (0.5 if thing['changed'] else 0.1)
    return total


@pytest.mark.parametrize('cuts', [[6], [1, 5], [2, 2, 2]], ids=str)
def test_equals_a_brute_force_count_however_it_is_batched(data, cuts):
    rng = np.random.default_rng(0)
    preds = {}
    for path in sorted((data / 'test/label').glob('*.png')):
        noise = cv2.resize(rng.random((16, 16)), (128, 128))
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0
        preds[path.stem] = np.where(label, noise > 0.4, noise > 0.75)
    samples = [sample(data / f'test/A/{stem}.png', pred) for stem, pred in preds.items()]
    metric = METRICS.build({'type': 'hsonet_mm.HardCaseMetric', 'prefix': 'by_kind'})
    for cut in cuts:
        metric.process(None, samples[:cut])
        samples = samples[cut:]
    figures = metric.evaluate(6)
    expected = brute_force(data, preds)
    assert {row['kind'] for row in metric.rows if row['objects']} == set(expected)
    assert len(expected) > 8
    for kind, (pixels, called, objects, hits) in expected.items():
        pixel_name, object_name = (
            ('recall', 'found')
            if kind in HARD_CASES and HARD_CASES[kind].changed
            else (
                'false_alarm',
                'alarmed',
            )
        )
        assert figures[f'by_kind/{kind}/{pixel_name}'] == pytest.approx(called / pixels)
        assert figures[f'by_kind/{kind}/{object_name}'] == pytest.approx(hits / objects)
        assert figures[f'by_kind/{kind}/objects'] == objects
    assert len(figures) == 3 * len(expected)


def test_the_label_itself_finds_everything_and_alarms_nowhere(data):
    metric = HardCaseMetric()
    for path in sorted((data / 'test/label').glob('*.png')):
        metric.process(None, [sample(data / f'test/A/{path.name}', cv2.imread(str(path), -1) // 255)])
    metric.evaluate(6)
    for row in metric.rows:
        assert (row['pixel_rate'], row['object_rate']) == (
            (1, 1) if row['changed'] and row['objects'] else (0, 0)
        )


def test_threshold_on_probabilities(hand_made):
    image, pred = hand_made
    probs = np.where(pred, 0.4, 0.2)
    figures = []
    for threshold in (0.3, 0.5):
        metric = HardCaseMetric(threshold=threshold)
        metric.process(None, [sample(image, np.zeros_like(pred), probs)])
        figures.append(metric.evaluate(1)['hard/plain/recall'])
    assert figures == [0.45, 0.0]


@pytest.mark.parametrize('threshold', [0, 1, -0.5, 2])
def test_threshold_out_of_range(threshold):
    with pytest.raises(UserError, match='between 0 and 1'):
        HardCaseMetric(threshold=threshold)


def test_count_objects_without_objects():
    pred = np.array([[True, False, True]])
    assert count_objects(pred, np.zeros((1, 3), np.uint16), {}) == [(BACKGROUND, 3, 2)]
    # an object that lost all its pixels is none
    assert count_objects(pred, np.array([[2, 2, 0]]), {1: 'plain', 2: 'cloud'}) == [
        (BACKGROUND, 1, 1),
        ('cloud', 2, 1),
    ]


def test_groups_for_a_table_of_all_breakdowns():
    counts = [
        ('vehicle', 10, 1),
        ('plain', 10, 5),
        ('plain', 10, 4),
        (BACKGROUND, 70, 7),
        (BACKGROUND, 30, 2),
    ]
    groups = hard_case_groups(counts)
    assert [group.key for group in groups] == [
        *(('hard_case', kind, case.changed) for kind, case in HARD_CASES.items()),
        ('hard_case', BACKGROUND, False),
    ]
    found = {group.group: (group.objects, group.pixels, group.called, group.hits) for group in groups}
    assert (found['plain'], found['vehicle'], found[BACKGROUND]) == (
        (2, 20, 9, 1),
        (1, 10, 1, 1),
        (2, 100, 9, 1),
    )
    assert found['cloud'] == (0, 0, 0, 0)


def test_table_is_readable():
    rows = hard_case_rows([('plain', 100, 80), ('small', 1234, 1), ('cloud', 50, 10), (BACKGROUND, 10, 0)])
    lines = hard_case_table(rows).splitlines()
    assert lines[0].split() == ['changed', 'objects', 'pixels', 'recall', 'found']
    assert lines[1].split() == ['plain', '1', '100', '0.8000', '1.0000']
    assert lines[2].split() == ['small', '1', '1,234', '0.0008', '0.0000']
    assert lines[3].split() == ['unchanged', 'objects', 'pixels', 'false', 'alarm', 'alarmed']
    assert lines[4].split() == ['cloud', '1', '50', '0.2000', '1.0000']
    assert lines[5].split() == ['background', '1', '10', '0.0000', '0.0000']
    assert '50%' in lines[6]
    assert '10%' in lines[6]
    assert len({len(line) for line in lines[:6]}) == 1
    assert len(lines) == 7


# -- data that does not fit
def test_no_objects_folder(tmp_path):
    metric = HardCaseMetric()
    with pytest.raises(UserError, match=r'objects/x.png is missing .* hsonet_mm.demo.generate'):
        metric.process(None, [sample(tmp_path / 'test/A/x.png', np.zeros((4, 4)))])


def test_prediction_of_another_size(hand_made):
    image, _ = hand_made
    with pytest.raises(UserError, match='is 5 x 10 and the prediction 4 x 4: test on whole images'):
        HardCaseMetric().process(None, [sample(image, np.zeros((4, 4)))])


def test_broken_lists(tmp_path):
    ids = np.array([[0, 1, 2]], np.uint16)
    pred = np.zeros((1, 3))
    unknown = write_objects(tmp_path / 'a', ids, {1: 'plain', 2: 'dragon'})
    with pytest.raises(UserError, match=r"does not describe the objects \['dragon'\]"):
        HardCaseMetric().process(None, [sample(unknown, pred)])
    unlisted = write_objects(tmp_path / 'b', ids, {1: 'plain'})
    with pytest.raises(UserError, match=r'does not describe the objects \[2\]'):
        HardCaseMetric().process(None, [sample(unlisted, pred)])
    for text in ('{"objects": [{"kind": "plain"}]}', '[]', '{'):
        (tmp_path / 'b/objects/x.json').write_text(text)
        with pytest.raises(UserError, match='not a list of objects'):
            HardCaseMetric().process(None, [sample(unlisted, pred)])
