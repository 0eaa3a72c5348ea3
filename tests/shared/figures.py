"""Random predictions with labels, and their figures by scikit-learn."""

import math
import warnings

import numpy as np

FIGURES = ('precision', 'recall', 'f1', 'iou', 'oa', 'kappa')


def random_pair(seed, shape=(23, 31), ignored=0.1, share=0.2):
    rng = np.random.default_rng(seed)
    target = (rng.random(shape) < share).astype(np.uint8)
    probs = np.clip(rng.normal(0.3 + 0.25 * target, 0.25), 0, 1).astype(np.float32)
    target[rng.random(shape) < ignored] = 255
    return probs, target


def by_scikit_learn(pred, target):
    from sklearn import metrics

    valid = target != 255
    y, p = target[valid].astype(int), pred[valid].astype(int)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        y, p, labels=[1], average=None, zero_division=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        kappa = metrics.cohen_kappa_score(y, p, labels=[0, 1])
    return {
        'precision': precision[0],
        'recall': recall[0],
        'f1': f1[0],
        'iou': metrics.jaccard_score(y, p, pos_label=1, zero_division=0),
        'oa': metrics.accuracy_score(y, p),
        'kappa': 0.0 if math.isnan(kappa) else kappa,  # 0 / 0: our convention is 0
    }
