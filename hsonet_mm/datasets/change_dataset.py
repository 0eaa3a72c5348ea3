"""A folder of image pairs with change labels."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from mmengine import fileio, list_from_file
from mmseg.datasets import BaseSegDataset

from hsonet_mm.datasets.seeded_sampler import SeededIndex
from hsonet_mm.errors import UserError
from hsonet_mm.images import IMAGE_SUFFIXES
from hsonet_mm.registry import DATASETS
from hsonet_mm.seeding import seed_everything

__all__ = ['IMAGE_SUFFIXES', 'ChangeDataset', 'expand_variables']

_VARIABLE = re.compile(r'\$\{(\w+)(?::-([^}]*))?\}')


def expand_variables(path: str) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}`` by environment variables, and ``~`` by the home folder.

    As in a shell, the default also stands in for a variable that is set but empty.

    Args:
        path: The path as written in a config.

    Raises:
        UserError: if a variable without a default is not set.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if not found:
            raise UserError(
                f'the data root {path!r} needs the environment variable {name}: '
                f'set it to the folder that holds the data set, or give the folder with --data-root'
            )
        return found

    return os.path.expanduser(_VARIABLE.sub(value, path))  # noqa: PTH111 (a remote path must stay as it is)


def _some(names: Iterable[str]) -> str:
    """Name a few of many."""
    names = sorted(names)
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')


@DATASETS.register_module()
class ChangeDataset(BaseSegDataset):
    """Image pairs in two folders and their labels in a third, matched by file name without suffix.

    The samples carry the keys of Open-CD's data sets, so that the transforms of Open-CD run on them.
    Missing files are found when the data set is built, by listing the folders; no image is opened for it.

    Args:
        img_suffix: What the names of the images end with, for instance ``'.png'``; by default any of
            :data:`IMAGE_SUFFIXES`, which may differ between the dates.
        seg_map_suffix: The same for the labels.
        format_seg_map: For Open-CD's ``MultiImgLoadAnnotations``, which cuts labels at 128 where it is ``'to_binary'``;
            :class:`hsonet_mm.MultiImgLoadAnnotations` tells from the file how a label is written and pays it no heed.
        data_root: The folder that holds the data set. ``${NAME}`` and ``${NAME:-default}`` stand for
            environment variables.
        data_prefix: The folders of the first date, the second date and the labels, relative to the data root.
            Without ``seg_map_path`` the data set has no labels (prediction).
        ann_file: A text file, relative to the data root, with the names of the pairs to use, one a line;
            with or without suffix. By default all pairs are used.
        **kwargs: The other arguments of :class:`mmseg.datasets.BaseSegDataset`: ``pipeline``, ``test_mode``,
            ``indices``, ``metainfo``, ``lazy_init``, ...

    Raises:
        UserError: if a folder is missing or empty, or a pair lacks a date or its label.
    """

    METAINFO: dict = {'classes': ('unchanged', 'changed'), 'palette': [[0, 0, 0], [255, 255, 255]]}  # noqa: RUF012

    def __init__(
        self,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        format_seg_map: str | None = 'to_binary',
        data_root: str | None = None,
        data_prefix: dict[str, str] | None = None,
        ann_file: str = '',
        **kwargs: Any,
    ) -> None:
        self.format_seg_map = format_seg_map
        self.written_root = data_root
        super().__init__(
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            data_root=None if data_root is None else expand_variables(data_root),
            data_prefix=data_prefix or {'img_path_from': 'A', 'img_path_to': 'B', 'seg_map_path': 'label'},
            ann_file=ann_file,
            **kwargs,
        )

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """A sample, augmented by the seed that its index may bring, see :class:`hsonet_mm.datasets.SeededSampler`."""
        if isinstance(idx, SeededIndex):
            seed_everything(idx.seed)
        sample: dict[str, Any] = super().__getitem__(int(idx))
        return sample

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the pairs, sorted by name."""
        self._check_root()
        dir_t1, dir_t2 = self._folder('img_path_from'), self._folder('img_path_to')
        t1, t2 = self._files(dir_t1, self.img_suffix), self._files(dir_t2, self.img_suffix)
        labels = None
        if self.data_prefix.get('seg_map_path') is not None:
            dir_labels = self._folder('seg_map_path')
            labels = self._files(dir_labels, self.seg_map_suffix)
        alone = {} if self.img_suffix else labels or {}  # a suffix may leave images out on purpose
        stems = self._wanted(t1) if self.ann_file else sorted(t1.keys() | t2.keys() | alone.keys())
        if not stems:
            suffix = self.img_suffix or ', '.join(IMAGE_SUFFIXES)
            raise UserError(
                f'there is no image in {dir_t1}: put the images of the first date there ({suffix}) '
                f'or correct data_prefix'
            )
        self._check_present(stems, t1, dir_t1, 'image of the first date')
        self._check_present(stems, t2, dir_t2, 'image of the second date')
        if labels is not None:
            self._check_present(stems, labels, dir_labels, 'label')
        return [
            dict(
                img_path=[t1[stem], t2[stem]],
                **({} if labels is None else {'seg_map_path': labels[stem]}),
                label_map=self.label_map,
                format_seg_map=self.format_seg_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for stem in stems
        ]

    def _check_root(self) -> None:
        """Say how to give the data root if there is none."""
        if self.data_root is None or fileio.isdir(self.data_root, backend_args=self.backend_args):
            return
        names = [name for name, _ in _VARIABLE.findall(str(self.written_root))]
        ways = [
            'with --data-root',
            *(f'in the environment variable {name}' for name in names),
            'as data_root',
        ]
        raise UserError(
            f'the data root {self.data_root} does not exist: give the folder that holds the data set '
            f'{", ".join(ways[:-1])} or {ways[-1]} in the config'
        )

    def _folder(self, key: str) -> str:
        """The folder under one key of ``data_prefix``."""
        folder = self.data_prefix.get(key)
        if folder is None:
            raise UserError(f'data_prefix lacks {key}: name the folder, relative to the data root')
        if not fileio.isdir(folder, backend_args=self.backend_args):
            raise UserError(f'the folder {folder} does not exist: create it or correct {key} in data_prefix')
        return folder

    def _files(self, folder: str, suffix: str | None) -> dict[str, str]:
        """The images in a folder and below, by name without suffix."""
        files: dict[str, str] = {}
        for name in fileio.list_dir_or_file(
            folder, list_dir=False, recursive=True, backend_args=self.backend_args
        ):
            if suffix and name.lower().endswith(suffix.lower()):
                stem = name[: -len(suffix)]
            elif not suffix and name.lower().endswith(IMAGE_SUFFIXES):
                stem = os.path.splitext(name)[0]  # noqa: PTH122 (keeps the folders below)
            else:
                continue
            path = fileio.join_path(folder, name, backend_args=self.backend_args)
            if files.setdefault(stem, path) != path:
                raise UserError(
                    f'{files[stem]} and {path} differ only in their suffix: remove one, '
                    f'or say which to use with img_suffix and seg_map_suffix'
                )
        return files

    def _wanted(self, known: dict[str, str]) -> list[str]:
        """The names in the annotation file, without suffix."""
        if not fileio.isfile(self.ann_file, backend_args=self.backend_args):
            raise UserError(
                f'the list of pairs {self.ann_file} does not exist: correct ann_file or leave it out'
            )
        names = [line.strip() for line in list_from_file(self.ann_file, backend_args=self.backend_args)]
        stems = [
            name
            if name in known or not name.lower().endswith(IMAGE_SUFFIXES)
            else str(PurePosixPath(name).with_suffix(''))
            for name in names
            if name
        ]
        if not stems:
            raise UserError(
                f'the list of pairs {self.ann_file} is empty: write one name a line or leave ann_file out'
            )
        if repeated := [stem for stem, times in Counter(stems).items() if times > 1]:
            raise UserError(
                f'the list of pairs {self.ann_file} names some more than once ({_some(repeated)}): name each once'
            )
        return stems

    def _check_present(self, stems: Sequence[str], files: dict[str, str], folder: str, what: str) -> None:
        """Stop if files are missing."""
        missing = [stem for stem in stems if stem not in files]
        if missing:
            raise UserError(
                f'{len(missing)} of {len(stems)} pairs have no {what} in {folder} ({_some(missing)}): '
                f'add the missing files or remove the other files of these pairs'
            )
