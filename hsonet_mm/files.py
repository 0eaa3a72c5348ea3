"""Atomic writing of files and folders, and locks."""

import errno
import json
import os
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hsonet_mm.errors import UserError

__all__ = [
    'folder_beside',
    'lock',
    'made_folder',
    'no_permission',
    'replace_folder',
    'require_writable',
    'unwritable',
    'write_bytes',
    'write_files',
    'write_json',
    'write_text',
]

_NO_ROOM_HELPS = (
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
"""Errors of writing that have nothing to do with the room on a disk."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: readers never see a part of it, and a failure leaves the old one.

    Its folder is made if needed.

    Raises:
        UserError: if the disk is full, the place cannot be written to, or is a folder.
    """
    write_files({path: data})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write several files that belong together, each as :func:`write_bytes` does; none if one does not fit on the disk.

    Raises:
        UserError: as there.
    """
    temporary = dict[Path, Path]()
    path = Path()
    try:
        for path, data in contents.items():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            # beside: a move never crosses disks
            temporary[path] = path.with_name(f'.{path.name}.{secrets.token_hex(4)}')
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary[path].write_bytes(data)
        for path, written in temporary.items():
            written.replace(path)
    except (OSError, ValueError) as error:  # the latter where the path names no file
        raise unwritable(path, error) from error
    finally:
        for written in temporary.values():
            with suppress(OSError):
                written.unlink(missing_ok=True)


def unwritable(path: Path, error: Exception, then: str = '') -> UserError:
    """The error for a file or folder that cannot be written, with what helps; ``then`` is added to it."""
    if isinstance(error, PermissionError):
        return no_permission('write', path)
    reason = getattr(error, 'strerror', None) or error
    room = '' if getattr(error, 'errno', None) in _NO_ROOM_HELPS else 'make room for it, or '
    return UserError(f'{path} cannot be written ({reason}): {room}name another place{then}')


def no_permission(verb: str, path: object) -> UserError:
    """The error for a file that a user may not ``'read'`` or ``'write'``."""
    other = 'file' if verb == 'read' else 'place'
    return UserError(f'no permission to {verb} {path}: correct its permissions, or give another {other}')


def require_writable(*paths: Path | None) -> None:
    """Check before a long computation that its results can be written, without leaving files.

    Raises:
        UserError: if a file is a folder, or its folder cannot be made or written to.
    """
    for path in filter(None, paths):
        if os.path.isdir(path):  # noqa: PTH112 (has an answer for names that are too long, too)
            raise UserError(f'{path} cannot be written (it is a folder): name a file')
        with made_folder(path.parent):
            try:
                with tempfile.NamedTemporaryFile(prefix=f'.{path.name}.', dir=path.parent):
                    pass
            except OSError as error:
                raise unwritable(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, see :func:`write_bytes`; line ends stay as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write what :mod:`json` can express, indented, see :func:`write_bytes`."""
    write_text(path, json.dumps(content, indent=1) + '\n')


@contextmanager
def made_folder(out: Path) -> Iterator[None]:
    """Create a folder if needed, and remove it afterwards if nothing was written into it."""
    with _held(out, f'the folder {out} cannot be created ({{}}): name another place'):
        yield


@contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the same disk; what is moved into it is deleted with it."""
    failure = f'{out} cannot be created ({{}}): make room for it, or name another place'
    with _held(out.parent, failure):
        try:
            beside = tempfile.TemporaryDirectory(
                prefix=f'.{out.name}.', dir=out.parent, ignore_cleanup_errors=True
            )
        except PermissionError as error:
            raise no_permission('write', out) from error
        except OSError as error:
            raise UserError(failure.format(error.strerror or error)) from error
        with beside as name:
            yield Path(name)


@contextmanager
def _held(folder: Path, failure: str) -> Iterator[None]:
    """Make a folder and keep it; then remove it and those made above it, if they are empty and nobody else keeps them.

    Args:
        folder: The folder.
        failure: What the error says where it cannot be made, with ``{}`` for the reason.
    """
    # unlike those of Path, this question has an answer for names that are too long, too
    new = [one for one in (folder, *folder.parents) if not os.path.exists(one)]  # noqa: PTH110
    held = None
    try:
        try:
            held = _make_and_lock(folder)
        except PermissionError as error:
            raise no_permission('write', error.filename or folder) from error
        except OSError as error:
            raise UserError(failure.format(error.strerror or error)) from error
        yield
    finally:
        with suppress(OSError):  # the first one that holds something ends it
            if held is None or lock(held):
                for one in new:
                    one.rmdir()
        if held is not None:
            os.close(held)


def _make_and_lock(folder: Path) -> int | None:
    """Make a folder if needed; its descriptor, which keeps other processes from removing it."""
    for _ in range(1000):
        with suppress(FileNotFoundError):  # another process removed it meanwhile
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                # Of a folder that was removed before pathlib looked what it is, too.
                if not stat.S_ISDIR(folder.lstat().st_mode):
                    raise
            if sys.platform == 'win32':  # folders have no descriptors there
                return None
            descriptor = os.open(folder, os.O_RDONLY)
            with suppress(FileNotFoundError):
                if lock(descriptor, shared=True) and os.path.samestat(os.fstat(descriptor), folder.stat()):
                    return descriptor
            os.close(descriptor)
        time.sleep(0.001)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def lock(file: IO[str] | int, *, shared: bool = False) -> bool:
    """Lock a file, or a folder by its descriptor, without waiting, until it is closed or this process ends.

    Args:
        file: The file.
        shared: Whether others may have such a lock at the same time.

    Returns:
        Whether it is locked now; where the system has no locks, that nobody is known to have one.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def replace_folder(new: Path, target: Path, old: Path) -> None:
    """Replace a folder by another; on any error or interrupt the earlier one is restored.

    The new one is on the same disk. ``old`` is where a folder that was there is put, for the caller to delete.
    """
    try:
        if target.exists():
            target.replace(old)
        new.replace(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.replace(target)
        raise
