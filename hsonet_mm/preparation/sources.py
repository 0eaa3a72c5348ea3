"""The files of a data set: a folder, a zip archive, or a folder of zip archives."""

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.images import IMAGE_SUFFIXES, Pixels, Reading, read_pixels
from hsonet_mm.index import SPLITS, VECTOR_SUFFIXES, Index, SceneFiles, belongs, index_names, name_key
from hsonet_mm.labels import CODING_FILE, LabelSurvey, read_survey
from hsonet_mm.preparation.polygons import Polygons, burn_polygons, no_polygon, read_polygons

__all__ = ['Source']

_HELD = (*IMAGE_SUFFIXES, *VECTOR_SUFFIXES, *(f'{split}.txt' for split in SPLITS), CODING_FILE)
"""What the names of the files that matter end with."""

DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What :mod:`zipfile` raises for archives that are not whole."""


class Source:
    """Images in a folder, in a zip archive, or in a folder of zip archives (``train.zip``, ``val.zip``, ...).

    Archives are read in place: nothing is unpacked, so no path inside an archive ever becomes a path on disk.
    Close it, or use it as a context manager.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._entries: dict[str, tuple[Path | zipfile.ZipFile, str]] = {}
        self._polygons: dict[str, Polygons] = {}
        self._unmet: set[str] = set()
        if path.is_dir():
            self._add_folder(path)
        elif path.is_file():
            self._add_archive(path)
        else:
            raise UserError(f'{path}: no such folder or zip archive: check the path')

    def __enter__(self) -> 'Source':
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add_folder(self, path: Path) -> None:
        for file in sorted(_files(path)):
            self._add(file.relative_to(path).as_posix(), path)
        if not any(belongs(name) for name in self._entries):
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
                    f'{path}: contains the unsafe path {info.filename!r}: get the archive from its authors'
                )
            if info.flag_bits & 1:
                raise UserError(f'{path}: is encrypted: unpack it and give the folder')
            mount = split if split in SPLITS and split not in inner.parts else ''
            self._add((PurePosixPath(mount) / inner).as_posix(), archive, info.filename)

    def _add(self, name: str, holder: Path | zipfile.ZipFile, member: str = '') -> None:
        if belongs(name, _HELD):
            self._entries[name] = (holder, member or name)

    def open(self, name: str) -> BinaryIO:
        """Open one image for reading."""
        holder, member = self._entries[name]
        return (
            (holder / member).open('rb')
            if isinstance(holder, Path)
            else cast('BinaryIO', holder.open(member))
        )

    def read(self, name: str) -> bytes:
        """Read one image's file."""
        try:
            with self.open(name) as stream:
                return stream.read()
        except (OSError, EOFError, NotImplementedError, *DAMAGED) as error:
            raise UserError(
                f'{name}: cannot be read from {self.path} ({error}): copy or download it again'
            ) from None

    def read_date(self, name: str, reading: Reading) -> Pixels:
        """Read one date of a pair, see :func:`hsonet_mm.images.read_pixels`."""
        read = None if isinstance(self._entries[name][0], Path) else lambda _: self.read(name)
        return read_pixels(self._gdal_path(name), reading, read, name)

    def read_dates(self, files: Mapping[str, str], reading: Reading) -> tuple[Pixels, Pixels]:
        """Read both dates of a pair, the roles ``'A'`` and ``'B'`` of its files."""
        return self.read_date(files['A'], reading.of_date(0)), self.read_date(files['B'], reading.of_date(1))

    def scenes(self, templates: Sequence[str] | None = None) -> Index:
        """Pair the files of the three roles by their names, see :func:`hsonet_mm.index.index_names`."""
        return index_names(self._entries, self.read, str(self.path), templates)

    def _gdal_path(self, name: str) -> str:
        """GDAL's name of a file of the source, also in an archive."""
        holder, member = self._entries[name]
        return str(holder / member) if isinstance(holder, Path) else f'/vsizip/{{{holder.filename}}}/{member}'

    def burn(self, scene: SceneFiles) -> NDArray[np.bool_]:
        """The polygons of a scene's label on the grid of its first date, see :func:`burn_polygons`."""
        name, image = scene.files['label'], scene.files['A']
        if name not in self._polygons:
            self._polygons[name] = read_polygons(self._gdal_path(name), name)
            self._unmet.add(name)
        mask, met = burn_polygons(self._polygons[name], name, self._gdal_path(image), image)
        own = name_key(PurePosixPath(name).stem) == PurePosixPath(scene.stem).name
        if own and not met:
            raise no_polygon(self._polygons[name], name, image)
        if met:
            self._unmet.discard(name)
        return mask

    def check_polygons(self) -> None:
        """Check that polygons for several scenes overlap one of them."""
        if self._unmet:
            name = min(self._unmet)
            raise no_polygon(self._polygons[name], name, 'an image')

    def declared_coding(self, root: str) -> LabelSurvey | None:
        """The label coding recorded beside the labels, or None."""
        name = f'{root}{CODING_FILE}'
        return read_survey(self.read(name), name) if name in self._entries else None


def _files(path: Path) -> Iterator[Path]:
    """All files and broken links below a folder, following links to folders except those that lead back up."""
    for name, folders, files in os.walk(path, followlinks=True):
        folder = Path(name)
        above = folder.resolve(), *folder.resolve().parents
        folders[:] = [inner for inner in folders if (folder / inner).resolve() not in above]
        paths = (folder / file for file in files)
        yield from (one for one in paths if one.is_file() or one.is_symlink())  # not pipes, which block
