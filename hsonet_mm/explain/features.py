"""Features of foreground, hard and easy background pixels: t-SNE and silhouette scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hsonet_mm.datasets.labelled_pairs import LabelledPair, LabelledPairs
from hsonet_mm.errors import UserError
from hsonet_mm.explain.activations import classifier_input, relation_maps
from hsonet_mm.explain.extra import require
from hsonet_mm.explain.networks import Network
from hsonet_mm.models.losses.eo_terms import EDGE, HARD

__all__ = ['FEWEST', 'KINDS', 'Embedding', 'PixelSample', 'choose_pixels', 'embed', 'features_of']

KINDS = ('foreground', 'hard background', 'easy background')
FEWEST = 10
"""Pixels of a kind below which there is nothing to show [choice]."""
PERPLEXITY = 30.0
"""Of t-SNE, where there are enough pixels: scikit-learn's default."""


@dataclass(frozen=True)
class PixelSample:
    """Pixels of a data set: number of the pair, ascending, row, column and index in :data:`KINDS` of each, (n,)."""

    pair: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    kind: NDArray[np.int64]


@dataclass(frozen=True)
class Embedding:
    """The t-SNE embedding of the features of some pixels.

    Attributes:
        points: (n, 2).
        kind: (n,) indices of :data:`KINDS`.
        silhouette: Mean silhouette score of the features, in [-1, 1]: 1 where the kinds are far apart, 0 where they
            overlap.
        by_kind: The same of each kind.
    """

    points: NDArray[np.float64]
    kind: NDArray[np.int64]
    silhouette: float
    by_kind: dict[str, float]


def choose_pixels(
    networks: Sequence[Network], pairs: LabelledPairs, count: int = 300, seed: int = 0
) -> PixelSample:
    """Choose pixels of each kind from a whole data set, the same for all compared networks.

    The kinds follow from the mean probability of change over the networks. Foreground is labelled changed. Hard
    background is labelled unchanged with a probability above 0.5, as in the log of EO-loss; if there are too few such
    pixels, those with the next highest probability are added. Easy background is other background at or below 0.5. If
    there are more pixels than needed, they are drawn at random. Pixels within 2 pixels of the outline of a label are
    excluded, because labels are uncertain there [choice].

    Only one pair and the chosen pixels are kept in memory.

    Raises:
        UserError: if there are too few pixels of a kind.

    Example:
        >>> from types import SimpleNamespace
        >>> bright, target = np.zeros((2, 32, 32), np.uint8)
        >>> bright[16:], target[:, :16] = 200, 1  # the left half changed
        >>> pair = LabelledPair(np.dstack([bright] * 3), np.zeros((32, 32, 3), np.uint8), target)
        >>> detector = SimpleNamespace(probs=lambda t1, t2, channel_order: t1[..., 0] / 255)  # bright is "changed"
        >>> pixels = choose_pixels([SimpleNamespace(detector=detector)], [pair], count=20)
        >>> bool((pixels.row[pixels.kind == KINDS.index('hard background')] >= 16).all())
        True
    """
    random = np.random.default_rng(seed)
    best = [np.empty((0, 4)) for _ in KINDS]  # key, pair, row, column
    for index, pair in enumerate(pairs):
        for number, keys in enumerate(_keys(_mean_probs(networks, pair), pair.target, random)):
            amount = 2 * count if number == KINDS.index('easy background') else count
            rows = np.concatenate([best[number], _rows(keys, index, amount)])
            best[number] = rows[np.argsort(-rows[:, 0], kind='stable')[:amount]]
    hard = {tuple(row) for row in best[1][:, 1:]}
    best[2] = np.array([row for row in best[2] if tuple(row[1:]) not in hard]).reshape(-1, 4)[:count]
    for name, rows in zip(KINDS, best, strict=True):
        if len(rows) < FEWEST:
            raise UserError(
                f'the data contain {len(rows)} pixels of {name} away from the outlines of labels: give a '
                f'split with at least {FEWEST}'
            )
    kind = np.repeat(np.arange(len(KINDS)), [len(rows) for rows in best])
    chosen = np.concatenate(best)[:, 1:].astype(np.int64)
    order = np.argsort(chosen[:, 0], kind='stable')
    pair, row, column = chosen[order].T
    return PixelSample(pair, row, column, kind[order])


def features_of(
    network: Network, pairs: LabelledPairs, pixels: PixelSample
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """Features and relations of a network at the chosen pixels.

    Returns:
        The features that its classifier sees, (n, C); and its relations by level, (n, 2) of the two dates, empty for a
        network without association.

    Example:
        >>> from types import SimpleNamespace
        >>> from hsonet_mm.inference.torch_model import TorchModel
        >>> network = SimpleNamespace(model=TorchModel(None, 'buildings'))
        >>> image, pixels = np.zeros((64, 64, 3), np.uint8), PixelSample(*np.array([[0, 0], [5, 9], [8, 60], [0, 1]]))
        >>> features, relations = features_of(network, [LabelledPair(image, image, image[..., 0])], pixels)
        >>> len(features), {values.shape for values in relations.values()}
        (2, {(2, 2)})
    """
    features: list[NDArray[np.float32]] = []
    relations: dict[str, list[NDArray[np.float32]]] = {}
    for index in np.unique(pixels.pair):
        here = pixels.pair == index
        pair = pairs[int(index)]
        batch = network.model.prepare(pair.t1[None], pair.t2[None])
        padded = batch['inputs'].shape[2:]
        spots = pixels.row[here], pixels.column[here]
        features.append(_at(classifier_input(network.model, batch), spots, padded))
        for level, values in relation_maps(network.model, batch).items():
            relations.setdefault(level, []).append(_at(values, spots, padded))
    return np.concatenate(features), {level: np.concatenate(parts) for level, parts in relations.items()}


def embed(features: NDArray[np.float32], kind: NDArray[np.int64]) -> Embedding:
    """Embed features in the plane by t-SNE, and measure the separation of the kinds.

    Every channel is brought to mean 0 and standard deviation 1 first. t-SNE begins with their principal components, so
    the same features always give the same points. The silhouette score is that of these features and of Euclidean
    distances, not of the plane, whose distances mean little.

    Args:
        features: (n, C).
        kind: Indices of :data:`KINDS`, (n,).

    Raises:
        UserError: if scikit-learn is not installed.

    Example:
        >>> kind = np.repeat(np.arange(len(KINDS)), 10)
        >>> noise = np.random.default_rng(0).normal(size=(30, 4))
        >>> embedding = embed((10 * kind[:, None] + noise).astype(np.float32), kind)  # three kinds, far apart
        >>> embedding.points.shape, embedding.silhouette > 0.5
        ((30, 2), True)
    """
    require('sklearn')
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_samples
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    perplexity = min(PERPLEXITY, (len(scaled) - 1) / 3)
    points = TSNE(perplexity=perplexity, init='pca', random_state=0).fit_transform(scaled)
    scores = silhouette_samples(scaled, kind)
    by_kind = {name: float(scores[kind == number].mean()) for number, name in enumerate(KINDS)}
    return Embedding(points, kind, float(scores.mean()), by_kind)


def _mean_probs(networks: Sequence[Network], pair: LabelledPair) -> NDArray[np.float32]:
    probs = [
        network.detector.probs(pair.t1[None], pair.t2[None], channel_order='bgr')[0] for network in networks
    ]
    return np.mean(probs, axis=0)


def _keys(
    probs: NDArray[np.float32], target: NDArray[np.uint8], random: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Priority of each pixel for each kind, -inf if it is of another kind."""
    changed = (target == 1).astype(np.uint8)
    window = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    inner = cv2.dilate(changed, window) == cv2.erode(changed, window)
    chance = random.random(target.shape)
    foreground, background = inner & (target == 1), inner & (target == 0)
    hard = np.where(probs > HARD, 1 + chance, probs)
    return [
        np.where(where, keys, -np.inf)
        for where, keys in (
            (foreground, chance),
            (background, hard),
            (background & (probs <= HARD), chance),
        )
    ]


def _rows(keys: NDArray[np.float64], pair: int, count: int) -> NDArray[np.float64]:
    """Key, pair, row and column of the pixels of highest priority."""
    flat = keys.ravel()
    best = np.argpartition(-flat, min(count, flat.size - 1))[:count]
    best = best[np.isfinite(flat[best])]
    return np.stack([flat[best], np.full(len(best), pair), *np.unravel_index(best, keys.shape)], axis=1)


def _at(
    maps: Tensor, spots: tuple[NDArray[np.int64], NDArray[np.int64]], padded: Sequence[int]
) -> NDArray[np.float32]:
    """Values of maps (C, h, w) at pixels of the image that they cover, (n, C)."""
    row, column = (
        spot * size // whole for spot, size, whole in zip(spots, maps.shape[1:], padded, strict=True)
    )
    values: Any = maps.cpu().numpy()
    return values[:, row, column].T
