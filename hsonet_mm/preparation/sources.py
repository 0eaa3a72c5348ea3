"""Find the scenes (date 1, date 2, mask) in a folder or zip archive by the layouts of public data sets."""

import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from hsonet_mm.errors import UserError
from hsonet_mm.images import IMAGE_SUFFIXES

__all__ = ['LAYOUTS', 'ROLES', 'SPLITS', 'Scene', 'Source']

SPLITS = ('train', 'val', 'test')
ROLES = ('A', 'B', 'label')

LAYOUTS = {
    'LEVIR-CD': ('{split}/A/*', '{split}/B/*', '{split}/label/*'),
    'CDD': ('{split}/A/*', '{split}/B/*', '{split}/OUT/*'),
    'SYSU-CD': ('{split}/time1/*', '{split}/time2/*', '{split}/label/*'),
    'S2Looking': ('{split}/Image1/*', '{split}/Image2/*', '{split}/label/*'),
    'WHU-CD': (
        '2012/whole_image/{split}/image/2012_{split}',
        '2016/whole_image/{split}/image/2016_{split}',
        'change_label/{split}/change_label',
    ),
    'WHU-CD whole': ('before/before', 'after/after', 'change label/change_label'),
    'scenes': ('A/*', 'B/*', 'label/*'),
}
"""Paths of date 1, date 2 and mask without suffix; ``*`` is the scene's name, ``{split}`` its split."""


DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What :mod:`zipfile` raises for archives that are not whole."""


@dataclass(frozen=True)
class Scene:
    """One place at two dates.

    Args:
        name: unique in its source: ``split/stem`` or ``stem``.
        split: train, val or test where the source says so.
        stem: file name without suffix.
        files: path inside the source of each role ``'A'``, ``'B'``, ``'label'`` that is there.
    """

    name: str
    split: str | None
    stem: str
    files: dict[str, str] = field(hash=False)

    def missing(self) -> list[str]:
        """The roles without a file."""
        return [role for role in ROLES if role not in self.files]


class Source:
    """Images in a folder, in a zip archive, or in a folder of zip archives (``train.zip``, ``val.zip``, ...).

    Archives are read in place: nothing is unpacked, so no path inside an archive ever becomes a path on disk.
    Close it, or use it as a context manager.

    Args:
        path: folder or archive.

    Raises:
        UserError: when there is no such folder, an archive is damaged, or it holds paths that lead outside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._entries: dict[str, tuple[Path | zipfile.ZipFile, str]] = {}
        if path.is_dir():
            self._add_folder(path)
        elif path.is_file():
            self._add_archive(path)
        else:
            raise UserError(f'{path}: there is no such folder or zip archive: check the path')

    def __enter__(self) -> 'Source':
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add_folder(self, path: Path) -> None:
        for file in sorted(_files(path)):
            self._add(file.relative_to(path).as_posix(), path)
        if not self._entries:
            for archive in sorted(path.glob('*.zip')):
                self._add_archive(archive)

    def _add_archive(self, path: Path) -> None:
        try:
            archive = self._stack.enter_context(zipfile.ZipFile(path))
        except (OSError, *DAMAGED) as error:
            raise UserError(
                f'{path}: is not a readable zip archive ({error}): download it again or unpack it'
            ) from None
        split = path.stem.lower()
        for info in archive.infolist():
            inner = PurePosixPath(info.filename.replace('\\', '/'))
            if inner.is_absolute() or '..' in inner.parts or ':' in info.filename:
                raise UserError(
                    f'{path}: holds the unsafe path {info.filename!r}: get the archive from its authors'
                )
            if info.flag_bits & 1:
                raise UserError(f'{path}: is encrypted: unpack it and give the folder')
            mount = split if split in SPLITS and split not in inner.parts else ''
            self._add((PurePosixPath(mount) / inner).as_posix(), archive, info.filename)

    def _add(self, name: str, holder: Path | zipfile.ZipFile, member: str = '') -> None:
        parts = PurePosixPath(name)
        hidden = any(part.startswith('.') or part == '__MACOSX' for part in parts.parts)
        if parts.suffix.lower() in IMAGE_SUFFIXES and not hidden:
            self._entries[name] = (holder, member or name)

    def open(self, name: str) -> BinaryIO:
        """Open one image for reading.

        Args:
            name: path inside the source, as in :attr:`Scene.files`.
        """
        holder, member = self._entries[name]
        return (
            (holder / member).open('rb')
            if isinstance(holder, Path)
            else cast('BinaryIO', holder.open(member))
        )

    def read(self, name: str) -> bytes:
        """Read one image's file.

        Args:
            name: path inside the source.

        Raises:
            UserError: when the archive or the disk does not give it.
        """
        try:
            with self.open(name) as stream:
                return stream.read()
        except (OSError, EOFError, NotImplementedError, *DAMAGED) as error:
            raise UserError(
                f'{name}: cannot be read from {self.path} ({error}): copy or download it again'
            ) from None

    def scenes(self, templates: Sequence[str] | None = None) -> tuple[str, list[Scene]]:
        """Pair the files of the three roles by their names.

        Args:
            templates: paths of date 1, date 2 and mask as in :data:`LAYOUTS`, a folder standing for all files
                in it; without them the layout that explains most files is taken.

        Returns:
            The layout's name and its scenes, complete or not, sorted by name.

        Raises:
            UserError: when no layout fits, or the source holds several data sets or the same image twice.
        """
        layouts = {'given': tuple(map(_as_template, templates))} if templates else LAYOUTS
        found = {name: self._match(parts) for name, parts in layouts.items()}
        layout = max(
            found, key=lambda name: _score([scene for group in found[name].values() for scene in group])
        )
        roots = found[layout]
        complete = [root for root, group in roots.items() if _score(group)[0]] or list(roots)
        if not complete:
            raise UserError(
                f'{self.path}: no image pairs found: expected {{train,val,test}}/{{A,B,label}} or A, B, '
                f'label with files of equal names ({", ".join(IMAGE_SUFFIXES)}); name other folders with --a, --b '
                'and --label'
            )
        if len(complete) > 1:
            several = ' and '.join(repr(root or '.') for root in sorted(complete)[:2])
            raise UserError(f'{self.path}: holds several data sets ({several}): give one of these folders')
        return layout, roots[complete[0]]

    def _match(self, templates: Sequence[str]) -> dict[str, list[Scene]]:
        """The scenes by the folder that holds all of their files."""
        files: dict[tuple[str, str, str], dict[str, str]] = {}
        for role, template in zip(ROLES, templates, strict=True):
            pattern = _pattern(template)
            for name in self._entries:
                match = pattern.fullmatch(name[: name.rindex('.')])
                if not match:
                    continue
                split = (match.groupdict().get('split') or '').lower()
                stem = match.groupdict().get('stem') or split or 'scene'
                known = files.setdefault((match['root'], split, stem), {})
                if role in known:
                    raise UserError(f'{name}: has the same name as {known[role]}: keep one of the two')
                known[role] = name
        groups: dict[str, list[Scene]] = {}
        for (root, split, stem), group in sorted(files.items()):
            scene = Scene(f'{split}/{stem}' if split else stem, split or None, stem, group)
            groups.setdefault(root, []).append(scene)
        return groups


def _files(path: Path) -> Iterator[Path]:
    """All files below a folder, behind links to folders too but for those that lead up again."""
    for name, folders, files in os.walk(path, followlinks=True):
        folder = Path(name)
        above = folder.resolve(), *folder.resolve().parents
        folders[:] = [inner for inner in folders if (folder / inner).resolve() not in above]
        yield from (folder / file for file in files)


def _score(scenes: Sequence[Scene]) -> tuple[int, int]:
    """How well a layout explains a source: complete scenes, then files."""
    return sum(not scene.missing() for scene in scenes), sum(len(scene.files) for scene in scenes)


def _as_template(text: str) -> str:
    """``before`` is a folder, ``before.tif`` a file, ``{split}/before/*`` already a template."""
    text = text.replace('\\', '/').strip('/')
    if PurePosixPath(text).suffix.lower() in IMAGE_SUFFIXES:
        return text[: text.rindex('.')]
    return text if '*' in text else f'{text}/*'


def _pattern(template: str) -> re.Pattern[str]:
    """A regular expression with groups root, stem and split; a second ``{split}`` repeats the first."""
    text = re.escape(template).replace(r'\*', '(?P<stem>[^/]+)').replace(re.escape('{split}'), '{split}')
    text = text.replace('{split}', '(?P<split>train|val|test)', 1).replace('{split}', '(?P=split)')
    return re.compile(f'(?P<root>(?:.*/)?){text}', re.IGNORECASE)
