"""A file backend of MMEngine that writes checkpoints atomically."""

from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend

from hsonet_mm.files import write_bytes

__all__ = ['ATOMIC', 'AtomicBackend']

ATOMIC = {'backend': 'hsonet_mm.atomic'}
"""``backend_args`` of what saves checkpoints."""


@register_backend(ATOMIC['backend'])
class AtomicBackend(LocalBackend):
    """MMEngine's local file backend with atomic writes.

    MMEngine writes over the old file, so that a kill or a full disk leaves neither the old nor the new checkpoint.
    """

    def put(self, obj: bytes, filepath: Any) -> None:
        """Write a file.

        Raises:
            UserError: if it cannot be written; a file that was there stays then.
        """
        write_bytes(Path(filepath), obj)
