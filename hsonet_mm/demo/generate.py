"""Writes the demo data set: bi-temporal scenes in the layout of LEVIR-CD, with typed hard cases."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hsonet_mm.demo.events import plan_scene
from hsonet_mm.demo.objects import TypedObject, type_objects
from hsonet_mm.demo.render import render
from hsonet_mm.demo.scenes import ScenePlan
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.hard_cases import HARD_CASES
from hsonet_mm.files import folder_beside, write_bytes, write_json

__all__ = ['Pair', 'generate', 'make_pair']

SPLITS = ('train', 'val', 'test')
FOLDERS = ('A', 'B', 'label', 'objects')
MANIFEST = 'manifest.json'
FORMAT = 1
"""Incremented whenever the same parameters give other scenes."""
SMALLEST_SIZE = 64
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def generate(
    root: str | Path, train: int = 200, val: int = 30, test: int = 60, size: int = 256, seed: int = 0
) -> dict[str, Any]:
    """Write a demo data set, or keep an existing one with the same parameters.

    The layout is ``root/{train,val,test}/{A,B,label}/<stem>.png`` (labels 0 / 255) and, for every label,
    ``objects/<stem>.png`` (uint16, 0 or the id of an object) with ``objects/<stem>.json`` (the objects by id,
    and the conditions of the two images). A scene depends on ``seed``, ``size``, split and index, not on the number
    of scenes, and no two splits share one. The folder appears under its name only when it is complete.

    Args:
        root: Folder to make. One that contains a data set of the same parameters is left as it is.
        train: Number of pairs to train on.
        val: Number of pairs to select a model on.
        test: Number of pairs to test on.
        size: Pixels on a side, at least 64; a pixel is about 0.5 m.
        seed: Seed of the whole set, not negative.

    Returns:
        The manifest, also in ``root/manifest.json``: parameters, and for each split the share of changed
        pixels and the number of objects of every kind.

    Raises:
        UserError: for sizes and counts out of range, and a folder that contains anything else or cannot be made.
    """
    root = Path(root)
    counts = dict(zip(SPLITS, (train, val, test), strict=True))
    if size < SMALLEST_SIZE or min(counts.values()) < 0 or not any(counts.values()) or seed < 0:
        raise UserError(
            f'invalid demo data of {train} + {val} + {test} pairs, size {size}, seed {seed}: expected a '
            f'size of {SMALLEST_SIZE} or more, at least one pair and no negative number'
        )
    parameters = {'format': FORMAT, 'size': size, 'seed': seed, 'pairs': counts}
    existing = _existing(root, parameters)
    if existing is not None:
        return existing
    with folder_beside(root) as beside:
        made = beside / root.name
        splits = {
            split: _write_split(made / split, split, number, size, seed) for split, number in counts.items()
        }
        manifest = {**parameters, 'splits': splits}
        write_json(made / MANIFEST, manifest)
        if root.exists():
            root.rmdir()  # empty, as _existing saw
        made.replace(root)
    return manifest


@dataclass(frozen=True)
class Pair:
    """One demo pair.

    Attributes:
        scene: The plan that it was made from.
        images: The images of date 1 and date 2, (size, size, 3) RGB uint8.
        ids: Instance map, (size, size) uint16, 0 where no typed object is.
        objects: The typed objects in order of their ids, from 1.
    """

    scene: ScenePlan
    images: list[np.ndarray]
    ids: np.ndarray
    objects: list[TypedObject]

    @property
    def label(self) -> np.ndarray:
        """255 where a building appeared or vanished, seen or not, else 0; (size, size) uint8."""
        changed = np.array([False, *(thing.changed for thing in self.objects)])
        return changed[self.ids].astype(np.uint8) * 255

    @property
    def conditions(self) -> dict[str, Any]:
        """Conditions of the whole pair: sun, light, shift of the second image in pixels (x, y)."""
        return {
            'suns': [sun._asdict() for sun in self.scene.suns],
            'light': self.scene.light,
            'illumination': self.scene.illumination,
            'shift': self.scene.shift,
        }


def make_pair(size: int, seed: int, split: str, index: int) -> Pair:
    """Generate one pair in memory.

    Example:
        >>> pair = make_pair(size=64, seed=0, split='train', index=0)
        >>> pair.images[0].shape, pair.label.shape
        ((64, 64, 3), (64, 64))
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    scene = plan_scene(size, rng)
    done = render(scene, rng)
    return Pair(scene, done.images, *type_objects(scene, done))


def _existing(root: Path, parameters: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a complete data set of these parameters; None if the folder does not exist."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding='utf-8'))
        same = {key: manifest[key] for key in parameters} == parameters
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f'{root} exists and contains no complete demo data: name another folder, or remove it'
        ) from None
    if not same:
        raise UserError(f'{root} contains demo data with other parameters: name another folder, or remove it')
    for split, number in parameters['pairs'].items():
        if any(len(list((root / split / folder).glob('*.png'))) != number for folder in FOLDERS):
            raise UserError(
                f'{root / split} has changed since it was generated (files were added or removed): remove '
                f'{root}'
            )
    return manifest


def _write_split(folder: Path, split: str, number: int, size: int, seed: int) -> dict[str, Any]:
    """Write the pairs of a split; returns its part of the manifest."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    kinds: Counter[str] = Counter()
    changed = 0
    for index in range(number):
        pair, stem = make_pair(size, seed, split, index), f'{split}_{index:04d}'
        pictures = [*(image[..., ::-1] for image in pair.images), pair.label, pair.ids]
        for name, picture in zip(FOLDERS, pictures, strict=True):
            write_bytes(folder / name / f'{stem}.png', cv2.imencode('.png', picture, PNG)[1].tobytes())
        objects = [asdict(thing) for thing in pair.objects]
        write_json(folder / 'objects' / f'{stem}.json', {**pair.conditions, 'objects': objects})
        kinds.update(thing.kind for thing in pair.objects)
        changed += int(np.count_nonzero(pair.label))
    share = round(changed / (number * size**2), 6) if number else 0.0
    return {'pairs': number, 'changed_share': share, 'objects': {kind: kinds[kind] for kind in HARD_CASES}}
