"""Atomic writing of files and folders, and locks."""

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hsonet_mm.errors import UserError

__all__ = [
    'folder_beside',
    'lock',
    'made_folder',
    'replace_folder',
    'write_bytes',
    'write_json',
    'write_text',
]


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: readers never see a part of it, and a failure leaves the old one.

    Its folder is made if needed.

    Raises:
        UserError: if the disk is full, the place cannot be written to, or is a folder.
    """
    try:
        # beside: a move never crosses disks
        temporary = path.with_name(f'.{path.name}.{secrets.token_hex(4)}')
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # the latter where the path names no file
        reason = getattr(error, 'strerror', None) or error
        raise UserError(
            f'{path} cannot be written ({reason}): make room for it, or name another place'
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, see :func:`write_bytes`; line ends stay as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write what :mod:`json` can express, indented, see :func:`write_bytes`."""
    write_text(path, json.dumps(content, indent=1) + '\n')


@contextmanager
def made_folder(out: Path) -> Iterator[None]:
    """A folder, made if needed; what was made is gone again where nothing was written into it."""
    with _new_ones_removed_if_empty(out):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f'the folder {out} cannot be created ({error.strerror or error}): name another place'
            ) from None
        yield


@contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """A new folder on the same disk, which is gone afterwards; what is moved there is deleted."""
    with _new_ones_removed_if_empty(out.parent):
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            beside = tempfile.TemporaryDirectory(
                prefix=f'.{out.name}.', dir=out.parent, ignore_cleanup_errors=True
            )
        except OSError as error:
            raise UserError(
                f'{out} cannot be created ({error.strerror or error}): make room for it, or name another place'
            ) from error
        with beside as name:
            yield Path(name)


@contextmanager
def _new_ones_removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a folder and those above it that were not there before, as far as they are empty."""
    # unlike those of Path, this question has an answer for names that are too long, too
    new = [one for one in (folder, *folder.parents) if not os.path.exists(one)]  # noqa: PTH110
    try:
        yield
    finally:
        with suppress(OSError):  # the first one that holds something ends it
            for one in new:
                one.rmdir()


def replace_folder(new: Path, target: Path, old: Path) -> None:
    """Put a folder in the place of another; whatever goes wrong, an interrupt too, the earlier one is there again.

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


def lock(file: IO[str]) -> bool:
    """Lock a file until this process closes it or ends; where the system cannot, do without."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
