"""The metric against scikit-learn, over split batches and two processes, and its error messages."""

import json
import math
import os
import re
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
import torch
from figures import FIGURES, by_scikit_learn, random_pair
from mmengine.logging import MMLogger

from hsonet_mm.errors import UserError
from hsonet_mm.evaluation import ChangeMetric
from hsonet_mm.evaluation.change_metric import change_probs, format_table
from hsonet_mm.registry import METRICS


def sample(probs, target, threshold=0.5, name='a.png'):
    """A data sample as mmengine hands it to metrics: one-channel head."""
    probs = torch.as_tensor(probs, dtype=torch.float32)[None]
    return {
        'img_path': ['A/' + name, 'B/' + name],
        'gt_sem_seg': {'data': torch.as_tensor(target, dtype=torch.uint8)[None]},
        'pred_sem_seg': {'data': (probs > threshold).to(probs)},
        'seg_logits': {'data': probs},
    }


def evaluate(metric, samples, batch=1):
    for start in range(0, len(samples), batch):
        metric.process({}, samples[start : start + batch])
    return metric.evaluate(len(samples))


@pytest.mark.parametrize('seed', range(20))
def test_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    samples, preds, targets = [], [], []
    for index in range(int(rng.integers(1, 5))):
        shape = tuple(rng.integers(1, 40, 2))
        probs, target = random_pair(1000 * seed + index, shape, *rng.random(2) * 0.8)
        samples.append(sample(probs, target, 0.4))
        preds.append((probs > np.float32(0.4)).ravel())
        targets.append(target.ravel())
    figures = evaluate(ChangeMetric(), samples, batch=2)
    expected = by_scikit_learn(np.concatenate(preds), np.concatenate(targets))
    for name in FIGURES:
        assert figures[f'changed/{name}'] == pytest.approx(expected[name], abs=1e-12), name


def test_nothing_counted():
    figures = evaluate(ChangeMetric(), [sample(np.ones((3, 3)), np.full((3, 3), 255))])
    assert all(figures[f'changed/{name}'] == 0 for name in FIGURES)
    assert figures['changed/best_threshold'] == 0.5


def test_precision_and_recall_are_not_swapped():
    probs, target = np.zeros((10, 10)), np.zeros((10, 10))
    probs[0, :5] = 0.9  # 5 predicted, 4 of them among the 8 labelled
    target[0, 1:9] = 1
    figures = evaluate(ChangeMetric(), [sample(probs, target)])
    assert figures['changed/precision'] == 4 / 5
    assert figures['changed/recall'] == 4 / 8
    assert figures['changed/f1'] == pytest.approx(8 / 13)


def test_counts_over_the_data_set_not_means_of_images():
    small, large = random_pair(1, (4, 4), share=0.9), random_pair(2, (60, 60), share=0.05)
    figures = evaluate(ChangeMetric(), [sample(*small), sample(*large)])
    pred, label = (np.concatenate([one.ravel() for one in pair]) for pair in zip(small, large, strict=True))
    pred, label = pred[label != 255] > 0.5, label[label != 255] == 1
    expected = 2 * (pred & label).sum() / (pred.sum() + label.sum())
    assert figures['changed/f1'] == pytest.approx(expected)
    means = [evaluate(ChangeMetric(), [sample(*pair)])['changed/f1'] for pair in (small, large)]
    assert np.mean(means) != pytest.approx(expected, abs=0.05)  # so that the two can be told apart


def test_split_batches_equal_one():
    samples = [sample(*random_pair(seed, (10 + seed, 20))) for seed in range(7)]
    one = evaluate(ChangeMetric(), samples, batch=7)
    assert evaluate(ChangeMetric(), samples, batch=1) == one
    assert evaluate(ChangeMetric(), samples, batch=3) == one
    assert evaluate(ChangeMetric(), samples[::-1], batch=2) == one


def test_ignored_pixels_change_nothing():
    probs, target = random_pair(3, ignored=0.3)
    other = np.where(target == 255, 1 - probs, probs)
    assert evaluate(ChangeMetric(), [sample(probs, target)]) == evaluate(
        ChangeMetric(), [sample(other, target)]
    )


def test_ignore_index_can_be_chosen():
    probs, target = random_pair(3)
    nine = np.where(target == 255, 9, target)
    assert evaluate(ChangeMetric(ignore_index=9), [sample(probs, nine)]) == evaluate(
        ChangeMetric(), [sample(probs, target)]
    )


@pytest.mark.parametrize('threshold', [0.2, 0.5, 0.71])
def test_threshold_overrules_the_model(threshold):
    probs, target = random_pair(4)
    figures = evaluate(ChangeMetric(threshold=threshold), [sample(probs, target, threshold=0.01)])
    expected = by_scikit_learn((probs > np.float32(threshold)).ravel(), target.ravel())
    for name in FIGURES:
        assert figures[f'changed/{name}'] == pytest.approx(expected[name])


def test_without_sweep_and_objects():
    figures = evaluate(ChangeMetric(sweep=False, objects=False), [sample(*random_pair(4))])
    assert list(figures) == [f'changed/{name}' for name in FIGURES]


def squares(*probs):
    """A pair of two squares of 100 pixels, both changed, and a larger one that is not; their probabilities."""
    target, image = np.zeros((20, 60), np.uint8), np.zeros((20, 60), np.float32)
    for index, p in enumerate(probs):
        image[2:12, 20 * index + 2 : 20 * index + (12 if index < 2 else 14)] = p
    target[2:12, 2:12] = target[2:12, 22:32] = 1
    return image, target


def test_objects_are_matched_over_the_data_set(tmp_path):
    samples = [sample(*squares(0.9, 0.2, 0.6)), sample(*squares(0.9, 0.95, 0.1))]
    out_file = tmp_path / 'figures.json'
    figures = evaluate(ChangeMetric(out_file=str(out_file)), samples)
    assert figures['changed/object_precision'] == 3 / 4
    assert figures['changed/object_recall'] == 3 / 4
    assert figures['changed/object_f1'] == 3 / 4
    assert figures['changed/object_ap'] == pytest.approx(3 / 4)  # the false alarm scores least
    lower = evaluate(ChangeMetric(threshold=0.15), samples)
    assert lower['changed/object_precision'] == 4 / 5
    assert lower['changed/object_recall'] == 1
    assert lower['changed/object_ap'] == pytest.approx(3 / 4 + 1 / 4 * 4 / 5)
    report = json.loads(out_file.read_text())
    assert report['objects']['false_alarms'] == 1
    assert [one['group'] for one in report['objects']['groups']] == ['100-399']
    assert '100-399 px' in format_table(report)


def test_objects_by_hard_case(tmp_path):
    (tmp_path / 'test/objects').mkdir(parents=True)
    ids = np.zeros((20, 60), np.uint16)
    ids[:, :20], ids[:, 20:40], ids[:, 40:] = 1, 2, 3
    kinds = [{'id': 1, 'kind': 'plain'}, {'id': 2, 'kind': 'shadowed'}, {'id': 3, 'kind': 'vehicle'}]
    cv2.imwrite(str(tmp_path / 'test/objects/a.png'), ids)
    (tmp_path / 'test/objects/a.json').write_text(json.dumps({'objects': kinds}))
    typed = sample(*squares(0.9, 0.2, 0.6)) | {'img_path': [str(tmp_path / 'test/A/a.png'), 'B/a.png']}
    metric = ChangeMetric(out_file=str(tmp_path / 'figures.json'))
    evaluate(metric, [typed])
    groups = {
        one['group']: one for one in json.loads((tmp_path / 'figures.json').read_text())['objects']['groups']
    }
    assert (groups['plain']['labelled'], groups['plain']['found']) == (1, 1)
    assert (groups['shadowed']['labelled'], groups['shadowed']['found']) == (1, 0)
    assert (groups['plain']['recall_at_precision'], groups['shadowed']['recall_at_precision']) == (1, 0)
    assert (groups['vehicle']['labelled'], groups['vehicle']['false_alarms']) == (0, 1)
    cv2.imwrite(str(tmp_path / 'test/objects/a.png'), ids[:10])
    with pytest.raises(UserError, match=r'a.png is 10 x 60 and the prediction 20 x 60: .*objects=False'):
        metric.process({}, [typed])


def test_best_threshold_is_found_and_usable():
    samples = [sample(*random_pair(seed)) for seed in range(3)]
    first = evaluate(ChangeMetric(), samples)
    assert first['changed/best_f1'] > first['changed/f1']
    again = evaluate(ChangeMetric(threshold=first['changed/best_threshold']), samples)
    assert again['changed/f1'] == first['changed/best_f1']


def test_best_threshold_of_a_perfect_model_is_the_middle():
    target = np.eye(8)
    figures = evaluate(ChangeMetric(), [sample(target, target)])
    assert figures['changed/best_threshold'] == 0.5
    assert figures['changed/best_f1'] == figures['changed/kappa'] == 1


def test_two_channel_logits_are_softmaxed():
    probs, target = random_pair(6, ignored=0)
    logits = torch.stack([torch.zeros(probs.shape), torch.tensor(probs).clamp(1e-6, 1 - 1e-6).logit()]) + 3
    torch.testing.assert_close(change_probs(logits), logits.softmax(0)[1])
    two = sample(probs, target) | {'seg_logits': {'data': logits}}
    two['pred_sem_seg'] = {'data': logits.argmax(0, keepdim=True)}
    one = evaluate(ChangeMetric(), [sample(probs, target)])
    figures = evaluate(ChangeMetric(), [two])
    assert figures['changed/f1'] == one['changed/f1']
    assert figures['changed/best_f1'] == pytest.approx(one['changed/best_f1'], abs=1e-2)


def test_json_and_table(tmp_path, capsys):
    MMLogger.get_instance('test_json_and_table', log_level='INFO')
    out_file = tmp_path / 'new' / 'figures.json'
    metric = METRICS.build(
        {
            'type': 'hsonet_mm.ChangeMetric',
            'protocol': 'tiles 256',
            'threshold': 0.5,
            'out_file': str(out_file),
        }
    )
    samples = [sample(*random_pair(seed, (20, 20))) for seed in range(3)]
    evaluate(metric, samples[:1])  # a second evaluation replaces the file
    figures = evaluate(metric, samples)
    report = json.loads(out_file.read_text())
    assert [path.name for path in out_file.parent.iterdir()] == ['figures.json']
    assert (report['protocol'], report['threshold'], report['images']) == ('tiles 256', 0.5, 3)
    assert report['pixels'] + report['ignored_pixels'] == 3 * 400
    assert sum(report['counts'].values()) == report['pixels']
    assert {name: report[name] for name in FIGURES} == {name: figures[f'changed/{name}'] for name in FIGURES}
    assert report['best']['f1'] == figures['changed/best_f1']
    assert max(point['f1'] for point in report['curve']) == pytest.approx(report['best']['f1'], abs=0.02)
    table = format_table(report).splitlines()
    assert 'changed' in table[0]
    assert 'tiles 256: 3 images' in table[0]
    assert f'{report["pixels"]:,} pixels' in table[0]
    assert table[2].split()[:2] == ['changed', '0.5000']
    assert table[2].split()[4] == f'{report["f1"]:.4f}'
    assert table[3].split()[1] == 'best'
    assert table[2] in capsys.readouterr().out
    assert format_table(report | {'threshold': 'model'}).splitlines()[2].split()[1] == 'model'


def test_warns_when_no_label_is_changed(capsys):
    MMLogger.get_instance('test_warns', log_level='INFO')
    evaluate(ChangeMetric(), [sample(np.ones((2, 2)), np.array([[0, 255], [255, 0]]))])
    assert 'load them with hsonet_mm.MultiImgLoadAnnotations, or' in capsys.readouterr().out


@pytest.mark.parametrize('threshold', [0, 1, -0.1, 1.5, float('nan')])
def test_threshold_out_of_range(threshold):
    with pytest.raises(UserError, match='between 0 and 1'):
        ChangeMetric(threshold=threshold)


def test_mistakes_are_named():
    good = sample(np.zeros((4, 4)), np.zeros((4, 4)))
    values = good | {'gt_sem_seg': {'data': torch.full((1, 4, 4), 128)}, 'seg_map_path': 'label/a.png'}
    size = good | {'gt_sem_seg': {'data': torch.zeros(1, 4, 5)}}
    classes = good | {'seg_logits': {'data': torch.zeros(3, 4, 4)}}
    nan = good | {'seg_logits': {'data': torch.full((1, 4, 4), math.nan)}}
    unlabelled = {key: value for key, value in good.items() if key != 'gt_sem_seg'}
    for bad, sentence in [
        (values, 'label/a.png: the label contains the value 128'),
        (size, 'A/a.png and B/a.png: the label is 4 x 5 and the prediction 4 x 4'),
        (classes, '3 classes'),
        (nan, 'A/a.png and B/a.png: the prediction is NaN'),
        (unlabelled, 'A/a.png has no label: give seg_map_path in data_prefix'),
        (unlabelled | {'img_path': 'pairs/a.png'}, '^pairs/a.png has no label'),
    ]:
        with pytest.raises(UserError, match=sentence):
            ChangeMetric().process({}, [bad])


def test_two_processes_count_padding_once(tmp_path):
    """Five images on two processes: the sampler repeats one, the metric must not count it twice."""
    script = textwrap.dedent("""
        import json, sys
        import torch
        from mmengine.dataset import DefaultSampler
        from hsonet_mm.evaluation import ChangeMetric

        rank, folder = int(sys.argv[1]), sys.argv[2]
        torch.distributed.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=2)
        samples = torch.load(f'{folder}/samples.pt')
        for batch, round_up in ((2, True), (1, False)):
            indices = list(DefaultSampler(samples, shuffle=False, round_up=round_up))
            metric = ChangeMetric()
            for start in range(0, len(indices), batch):
                metric.process({}, [samples[index] for index in indices[start:start + batch]])
            print('FIGURES', json.dumps([len(indices), metric.evaluate(len(samples))]))
        torch.distributed.destroy_process_group()
    """)
    samples = [sample(*random_pair(seed, share=0.1 * (seed + 1))) for seed in range(5)]
    torch.save(samples, tmp_path / 'samples.pt')
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', script, str(rank), str(tmp_path)],
            cwd=tmp_path,
            env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'OMP_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    printed = [re.findall('FIGURES (.*)', output) for output in outputs]
    padded, unpadded = zip(*[map(json.loads, lines) for lines in printed], strict=True)
    assert [count for count, _ in padded] == [3, 3]  # the sampler did pad
    assert [count for count, _ in unpadded] == [3, 2]
    one = evaluate(ChangeMetric(), samples)
    assert [figures for _, figures in (*padded, *unpadded)] == [one] * 4
