"""Folders that are replaced atomically."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsonet_mm.errors import UserError
from hsonet_mm.files import no_permission, replace_folder

__all__ = ['MARK', 'check_target', 'replaced_folder']

MARK = 'view.json'
"""A file by which a folder of ours is known; others are not replaced."""


def check_target(target: Path, mark: str, kind: str) -> None:
    """Check that a folder was written by this package, is empty, or does not exist."""
    empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not empty and not (target / mark).is_file():
        raise UserError(f'{target} exists and is not a {kind}: give another folder with -o')


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside a target, which replaces the target if the block ends without an error.

    What an earlier run left when it was killed is removed.
    """
    check_target(target, MARK, 'view')
    part, old = (target.with_name(f'.{target.name}.{suffix}') for suffix in ('part', 'old'))
    try:
        for path in (part, old):
            shutil.rmtree(path, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            yield part
            replace_folder(part, target, old)
        finally:
            for path in (part, old):
                shutil.rmtree(path, ignore_errors=True)
    except PermissionError as error:
        raise no_permission('write', target) from error
    except OSError as error:
        raise UserError(
            f'{target} cannot be written ({error.strerror or error}): make room for it, or name another place with -o'
        ) from error
