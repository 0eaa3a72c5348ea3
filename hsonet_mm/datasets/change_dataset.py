"""A folder of image pairs with change labels."""

import os
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from mmengine import fileio
from mmseg.datasets import BaseSegDataset

from hsonet_mm.config import check_root, expand_variables
from hsonet_mm.datasets.label_coding import coding_of
from hsonet_mm.datasets.loading import MultiImgLoadAnnotations
from hsonet_mm.datasets.seeded_sampler import SeededIndex
from hsonet_mm.errors import UserError
from hsonet_mm.images import IMAGE_SUFFIXES, Reading
from hsonet_mm.index import (
    BY_LISTS,
    SPLITS,
    VECTOR_SUFFIXES,
    NoPairsError,
    belongs,
    by_stem,
    index_names,
    read_names,
    some,
)
from hsonet_mm.registry import DATASETS
from hsonet_mm.seeding import seed_everything
from hsonet_mm.texts import printable

__all__ = ['IMAGE_SUFFIXES', 'ChangeDataset']

_KEYS = {'A': 'img_path_from', 'B': 'img_path_to', 'label': 'seg_map_path'}
_WHAT = {'A': 'image of the first date', 'B': 'image of the second date', 'label': 'label'}


@DATASETS.register_module()
class ChangeDataset(BaseSegDataset):
    """Image pairs with change labels, matched by file name without suffix.

    The samples carry the keys of Open-CD's data sets, so that the transforms of Open-CD run on them.
    Missing files are found when the data set is built, by listing the folders. The labels of all splits are read once
    for how they are coded, unless that is written down beside them, see :mod:`hsonet_mm.labels`.

    Args:
        img_suffix: What the names of the images end with, for instance ``'.png'``; by default any of
            :data:`IMAGE_SUFFIXES`, which may differ between the dates.
        seg_map_suffix: The same for the labels.
        format_seg_map: For Open-CD's ``MultiImgLoadAnnotations``, which cuts labels at 128 where it is ``'to_binary'``;
            :class:`hsonet_mm.MultiImgLoadAnnotations` pays it no heed.
        data_root: The folder of the data set. ``${NAME}`` and ``${NAME:-default}`` stand for
            environment variables.
        data_prefix: The folders of the first date, the second date and the labels, relative to the data root.
            Without ``seg_map_path`` the data set has no labels (prediction). Where the data root has none of these
            folders and they are those of a split (``train/A``), ``split`` is taken from them.
        split: In place of ``data_prefix``: ``'train'``, ``'val'`` or ``'test'`` of a data set in any of the layouts of
            :data:`hsonet_mm.index.LAYOUTS`, such as A, B and label with ``list/train.txt``.
        ann_file: A text file, relative to the data root, with the names of the pairs to use, one a line;
            with or without suffix. By default all pairs are used.
        changed_values: As in :class:`hsonet_mm.MultiImgLoadAnnotations`, where that of the pipeline declares nothing.
        ignore_value: The same.
        bands: Numbers of the bands to read, ``'3,2,1'`` or a list; three are red, green and blue to the network. By
            default as the files say. The network has to take as many: see ``--bands`` of ``hsonet train``.
        stretch: Values ``'0,3000'`` or percentiles ``'2%,98%'`` of each file that become 0 and 255.
        nodata: Value that means "no data" beside what the files declare. Such pixels do not count in training.
        **kwargs: The other arguments of :class:`mmseg.datasets.BaseSegDataset`: ``pipeline``, ``test_mode``,
            ``indices``, ``metainfo``, ``lazy_init``, ...

    Raises:
        UserError: if a folder is missing or empty, a pair lacks a date or its label, or a label is not coded as the
            others.

    Example:
        >>> import tempfile
        >>> import cv2
        >>> import numpy as np
        >>> root = tempfile.mkdtemp()
        >>> corner = np.pad(np.ones((8, 8), np.uint8), (0, 24))
        >>> for folder, value in (('A', 60), ('B', 90), ('label', 255)):
        ...     os.mkdir(f'{root}/{folder}')
        ...     assert cv2.imwrite(f'{root}/{folder}/park.png', value * corner)
        >>> data = ChangeDataset(
        ...     data_root=root,
        ...     pipeline=[
        ...         {'type': 'hsonet_mm.MultiImgLoadImageFromFile'},
        ...         {'type': 'hsonet_mm.MultiImgLoadAnnotations'},
        ...     ],
        ... )
        >>> sample = data[0]
        >>> len(data), [image.shape for image in sample['img']], int(sample['gt_seg_map'].sum())
        (1, [(32, 32, 3), (32, 32, 3)], 64)
    """

    METAINFO: dict = {'classes': ('unchanged', 'changed'), 'palette': [[0, 0, 0], [255, 255, 255]]}  # noqa: RUF012

    def __init__(
        self,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        format_seg_map: str | None = 'to_binary',
        data_root: str | None = None,
        data_prefix: dict[str, str] | None = None,
        split: str | None = None,
        ann_file: str = '',
        changed_values: Any = None,
        ignore_value: Any = None,
        bands: str | Sequence[int] | None = None,
        stretch: str | Sequence[float] | None = None,
        nodata: float | str | None = None,
        metainfo: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.reading = Reading.make(bands, stretch, nodata)
        self.format_seg_map = format_seg_map
        self.written_root = data_root
        self.split = split
        self.declared = {'changed_values': changed_values, 'ignore_value': ignore_value}
        folders = {'img_path_from': 'A', 'img_path_to': 'B', 'seg_map_path': 'label'}
        super().__init__(
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            data_root=None if data_root is None else expand_variables(data_root),
            data_prefix=data_prefix or ({} if split else folders),
            ann_file=ann_file,
            metainfo={**(metainfo or {}), 'reading': self.reading.to_dict()},  # which checkpoints keep
            **kwargs,
        )

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """A sample, augmented with the seed of its index, if any, see :class:`hsonet_mm.datasets.SeededSampler`."""
        if isinstance(idx, SeededIndex):
            seed_everything(idx.seed)
        sample: dict[str, Any] = super().__getitem__(int(idx))
        return sample

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the pairs, sorted by name."""
        if self.written_root is not None:
            check_root(self.written_root, self.backend_args)
        split = self._split_to_index()
        try:
            pairs, labels = self._from_index(split) if split else self._from_folders()
        except NoPairsError:
            if self.split is not None:
                raise
            pairs, labels = self._from_folders()  # which says what is missing
        loader = self._loader() if labels else None
        extra: dict[str, Any] = {}
        if loader is not None:
            extra['label_coding'] = coding_of(self.data_root, labels, loader, self.backend_args)
        return [
            dict(
                img_path=[files['A'], files['B']],
                **({'seg_map_path': files['label']} if 'label' in files else {}),
                **extra,
                label_map=self.label_map,
                format_seg_map=self.format_seg_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
                reading=self.reading,
            )
            for files in pairs
        ]

    def _loader(self) -> MultiImgLoadAnnotations | None:
        """The transform that loads the labels, if it is ours."""
        found = (one for one in self.pipeline.transforms if isinstance(one, MultiImgLoadAnnotations))
        loader = next(found, None)
        if loader is None or loader.changed_values or loader.ignored_values:
            return loader
        return MultiImgLoadAnnotations(**self.declared, backend_args=loader.backend_args)

    def _is_dir(self, folder: str) -> bool:
        return bool(fileio.isdir(folder, backend_args=self.backend_args))

    def _split_to_index(self) -> str | None:
        """The split to look up in the index of the data root; None if the folders of ``data_prefix`` exist."""
        if self.split is not None:
            if self.split not in SPLITS or self.data_root is None:
                raise UserError(
                    f'invalid split={self.split!r}, data_root={self.data_root!r}: expected one of '
                    f'{SPLITS} and a folder'
                )
            return self.split
        folders = [self.data_prefix.get(key) for key in _KEYS.values()]
        if self.data_root is None or None in folders or any(self._is_dir(folder) for folder in folders):
            return None
        splits = {_split_of(folder, self.data_root) for folder in folders}
        return splits.pop() if len(splits) == 1 and not self.ann_file else None

    def _from_index(self, split: str) -> tuple[list[dict[str, str]], dict[str, str]]:
        """Files of the pairs of a split by role, and the labels of all splits."""
        root = self.data_root
        index = index_names(
            self._names(root),
            lambda name: fileio.get(self._join(root, name), backend_args=self.backend_args),
            root,
        )
        scenes = [scene for scene in index.scenes if scene.split == split]
        if not scenes:
            known = {one.split for one in index.scenes if one.split}
            has = f'only {", ".join(sorted(known))}' if known else 'no splits'
            lists = not known or index.layout.endswith(BY_LISTS)
            cure = f'list its pairs in list/{split}.txt' if lists else f'add the folders of {split}'
            raise UserError(
                f'{root} (layout {index.layout}) has {has}, but {split} is needed: {cure}, '
                'or split the data set with hsonet prepare'
            )
        for scene in scenes:
            if missing := scene.missing():
                raise UserError(
                    f'{root}: {printable(scene.name)} has no file in {" and ".join(missing)}: add it or remove the pair'
                )
            if belongs(scene.files['label'], VECTOR_SUFFIXES):
                raise UserError(
                    f'{root}: the label {scene.files["label"]} contains polygons: rasterise it with '
                    'hsonet prepare'
                )
        first = scenes[0]
        for role, key in _KEYS.items():
            folder = first.files[role].rpartition('.')[0].removesuffix(first.stem).rstrip('/')
            self.data_prefix[key] = self._join(root, folder)
        labels = {
            self._join(root, scene.files['label']): scene.split or ''
            for scene in index.scenes
            if scene.split and 'label' in scene.files
        }
        return [
            {role: self._join(root, name) for role, name in scene.files.items()} for scene in scenes
        ], labels

    def _from_folders(self) -> tuple[list[dict[str, str]], dict[str, str]]:
        """Files of the pairs in the folders of ``data_prefix`` by role, and the labels of all splits."""
        found: dict[str, dict[str, str]] = {}
        for role, key in _KEYS.items():
            if role != 'label' or self.data_prefix.get(key) is not None:
                found[role] = self._files(
                    self._folder(key), self.seg_map_suffix if role == 'label' else self.img_suffix
                )
        # a suffix may leave images out on purpose
        heeded = [role for role in found if role != 'label' or not self.img_suffix]
        known = {key: None for role in heeded for key in found[role]}
        stems = self._wanted(known) if self.ann_file else sorted(known)
        if not stems:
            suffix = self.img_suffix or ', '.join(IMAGE_SUFFIXES)
            raise UserError(
                f'{self.data_prefix["img_path_from"]} contains no image: put the images of the first date '
                f'there ({suffix}) or correct data_prefix'
            )
        for role, files in found.items():
            self._check_present(stems, files, self.data_prefix[_KEYS[role]], _WHAT[role])
        labels = self._all_labels(self.data_prefix['seg_map_path']) if 'label' in found else {}
        return [{role: files[stem] for role, files in found.items()} for stem in stems], labels

    def _all_labels(self, folder: str) -> dict[str, str]:
        """The labels in a folder; if it belongs to a split, also those of the other splits."""
        split = _split_of(folder, self.data_root)
        folders = {folder: split or ''}
        if split is not None:
            start = len(self.data_root) + 1
            others = {folder[:start] + folder[start:].replace(split, one, 1): one for one in SPLITS}
            folders |= {other: one for other, one in others.items() if self._is_dir(other)}
        return {
            path: one
            for place, one in folders.items()
            for path in self._files(place, self.seg_map_suffix).values()
        }

    def _folder(self, key: str) -> str:
        """The folder under one key of ``data_prefix``."""
        folder = self.data_prefix.get(key)
        if folder is None:
            raise UserError(
                f'invalid data_prefix without {key}: expected its folder, relative to the data root'
            )
        if not fileio.isdir(folder, backend_args=self.backend_args):
            raise UserError(
                f'the folder {folder} does not exist: give the folder of the data set with --data-root or as data_root '
                f'in the config, or correct {key} in data_prefix'
            )
        return folder

    def _join(self, folder: str, name: str) -> str:
        return str(fileio.join_path(folder, name, backend_args=self.backend_args))

    def _names(self, folder: str) -> Iterable[str]:
        """The files in a folder and below."""
        listed = fileio.list_dir_or_file(
            folder, list_dir=False, recursive=True, backend_args=self.backend_args
        )
        return (name.replace(os.sep, '/') for name in listed)

    def _files(self, folder: str, suffix: str | None) -> dict[str, str]:
        """The images in a folder and below, by the name of their pair."""
        suffixes = (suffix.lower(),) if suffix else IMAGE_SUFFIXES
        found = by_stem(self._names(folder), suffixes, f'{folder}/')
        return {key: self._join(folder, name) for key, name in found.items()}

    def _wanted(self, known: Collection[str]) -> list[str]:
        """The pairs in the annotation file."""
        if not fileio.isfile(self.ann_file, backend_args=self.backend_args):
            raise UserError(
                f'the list of pairs {self.ann_file} does not exist: correct ann_file or leave it out'
            )
        return read_names(fileio.get(self.ann_file, backend_args=self.backend_args), self.ann_file, known)

    def _check_present(self, stems: Sequence[str], files: dict[str, str], folder: str, what: str) -> None:
        """Raise an error if files are missing."""
        missing = [stem for stem in stems if stem not in files]
        if missing:
            raise UserError(
                f'{len(missing)} of {len(stems)} pairs have no {what} in {folder} ({printable(some(missing))}): '
                f'add the missing files or remove the other files of these pairs'
            )


def _split_of(folder: str, root: str | None) -> str | None:
    """The split whose folder this is, directly below the root."""
    if root is None or not folder.startswith(f'{root}/'):
        return None
    first = folder[len(root) + 1 :].split('/')[0]
    return first if first in SPLITS else None
