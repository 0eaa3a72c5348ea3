"""The scores of a run: against scikit-learn, the threshold from val, and the test split opened last."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.structures import SegDataSample

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from leaderboard_runs import best_model, first_job, one_method, rows_of, run_folder

from hsonet_mm.datasets import loading
from hsonet_mm.datasets.loading import read_label
from hsonet_mm.images import read_pixels, to_bgr
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.leaderboard import records, scoring
from hsonet_mm.leaderboard import run as runs
from hsonet_mm.leaderboard.job import Job

sklearn = pytest.importorskip('sklearn.metrics')


def test_objects_of_validation_are_scored(trained_board):
    for result in rows_of(trained_board[0], 'results', method='tiny', split='val'):
        assert result['test_set'] == result['data_set']
        assert 0 <= float(result['object_ap']) <= float(result['object_recall']) <= 1


@torch.no_grad()
def predict_split(out, root, split):
    """Names, probabilities and labels of a split, without MMEngine's loaders and loops."""
    model = best_model(out)
    for path in sorted((root / split / 'A').iterdir()):
        t1, t2 = (to_bgr(read_pixels(str(root / split / date / path.name)).values) for date in 'AB')
        label = read_label(str(root / split / 'label' / path.name))[0] > 0
        sample = SegDataSample(metainfo={'ori_shape': label.shape, 'img_shape': label.shape})
        inputs = torch.from_numpy(np.dstack([t1, t2])).permute(2, 0, 1)
        (sample,) = model.test_step({'inputs': [inputs], 'data_samples': [sample]})
        yield path.stem, sample.seg_logits.data[0].numpy(), label


def test_scores_are_those_of_scikit_learn(trained_board, tiny_data):
    out = trained_board[0]
    pairs = list(predict_split(out, tiny_data, 'test'))
    probs = np.concatenate([probs.ravel() for _, probs, _ in pairs])
    labels = np.concatenate([label.ravel() for *_, label in pairs])
    rows = rows_of(
        out, 'results', method='tiny', data_set='houses', test_set='houses', split='test', protocol='whole'
    )
    assert {row['threshold_rule'] for row in rows} == {'half', 'val'}
    for row in rows:
        pred = probs > float(row['threshold'])
        for name, figure in (
            ('f1', sklearn.f1_score),
            ('precision', sklearn.precision_score),
            ('recall', sklearn.recall_score),
        ):
            assert float(row[name]) == pytest.approx(figure(labels, pred, zero_division=0), abs=2e-3)
    assert any(float(row['f1']) > 0 for row in rows)
    for stem, probs, _ in pairs:
        stored = cv2.imread(str(run_folder(out) / 'probs/houses' / f'{stem}.png'), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == np.uint8
        np.testing.assert_allclose(stored, 255 * probs, atol=0.51)
    assert sorted(path.stem for path in (run_folder(out) / 'probs/demo').iterdir()) == [
        'test_0000',
        'test_0001',
    ]


@pytest.mark.any_host
def test_tiles_of_small_images_are_the_whole_images(trained_run, execute_here, tmp_path, monkeypatch):
    """The demo's pairs have 96 pixels and are predicted once, those of the houses up to 272 and are cut too."""
    passes, predict = [], scoring.predict

    def watched(model, loader):
        passes.append((Path(loader['dataset']['data_root']).name, model.test_cfg.mode))
        return predict(model, loader)

    monkeypatch.setattr(scoring, 'predict', watched)
    monkeypatch.setattr(runs, 'train', None)
    assert execute_here(trained_run) == 0
    val, test = [('tiny', 'whole')], [('tiny', 'whole'), ('tiny', 'slide'), ('demo', 'whole')]
    assert passes == val + test
    for table in ('results', 'images', 'curves'):
        rows = [row for row in records.read_parts(trained_run.parent, table) if row['test_set'] == 'demo']
        whole, tiles = (
            [{**row, 'protocol': ''} for row in rows if row['protocol'] == protocol]
            for protocol in ('whole', 'tiles_256')
        )
        assert whole == tiles != []

    model, cfg = best_model(tmp_path / 'out'), Config.fromfile(trained_run.parent / 'config.py')
    cfg.test_dataloader.dataset.data_root = Job.read(trained_run).test_sets['demo']
    probs = {}
    for name, test_cfg in cfg.protocols.items():
        model.test_cfg = test_cfg
        probs[name] = [one.probs for one in predict(model, cfg.test_dataloader)]
    assert len(probs['whole']) == 2
    torch.testing.assert_close(probs['whole'], probs['tiles_256'], rtol=0, atol=0)


def test_threshold_is_chosen_on_val(trained_board, tiny_data):
    out = trained_board[0]
    pairs = list(predict_split(out, tiny_data, 'val'))
    probs = np.concatenate([probs.ravel() for _, probs, _ in pairs])
    labels = np.concatenate([label.ravel() for *_, label in pairs])
    rows = rows_of(out, 'results', method='tiny', data_set='houses', threshold_rule='val')
    (threshold,) = {float(row['threshold']) for row in rows}  # the same on val and on every test split
    scores = {
        k / 1024: sklearn.f1_score(labels, probs > k / 1024, zero_division=0) for k in range(1, 1024, 4)
    }
    (val,) = (row for row in rows if row['split'] == 'val')
    assert float(val['f1']) == pytest.approx(
        sklearn.f1_score(labels, probs > threshold, zero_division=0), abs=2e-3
    )
    assert float(val['f1']) >= max(scores.values()) - 2e-3
    assert (val['images'], val['pixels'], val['test_set']) == ('2', str(2 * 64 * 64), 'houses')
    folder = run_folder(out)
    (checkpoint,) = (folder / 'work_dir').glob('best_*.pth')
    detector = ChangeDetector.from_checkpoint(folder / 'config.py', checkpoint)
    assert detector.threshold == threshold


def test_test_split_is_opened_last(write_spec, execute_here, tmp_path, monkeypatch):
    """Training, selection and the choice of the threshold are over by then."""
    job = first_job(one_method(write_spec(tmp_path / 'spec.yaml')), tmp_path / 'out')
    opened = []
    original = loading.read_pixels

    def read(path, *args):
        opened.append(Path(path).parts[-3])
        return original(path, *args)

    monkeypatch.setattr(loading, 'read_pixels', read)
    assert execute_here(job) == 0
    order = [split for split, following in pairwise([*opened, 'end']) if split != following]
    assert order[-2:] == ['val', 'test']
    assert order.count('test') == 1
    assert opened.count('test') == 2 * 2 * 2  # images of both dates, once a protocol
    assert opened.count('val') == 2 * 2 * (2 + 1)  # both validations, and the choice of the threshold


@pytest.mark.any_host
def test_prediction_of_nan_fails(trained_run, execute_here, monkeypatch):
    monkeypatch.setattr(scoring, 'change_probs', lambda logits: logits[0] * np.nan)
    assert execute_here(trained_run) == runs.FAILED
    (row,) = records.read_parts(trained_run.parent, 'results')
    assert row['status'].endswith('the prediction is NaN; train again with a lower learning rate')
    assert row['status'].startswith('failed: ')
