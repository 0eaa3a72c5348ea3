"""HSONet for MMSegmentation and Open-CD: change detection in high-resolution remote-sensing images.

With MMEngine the package's components stand in scope ``hsonet_mm``, whichever of the two is imported first. Where
Open-CD is not installed, a small stand-in (:mod:`hsonet_mm.opencd.stand_in`) offers the part of its interface that the
configs use in scope ``opencd``, so that one config runs on both. Importing the package alone imports neither PyTorch
nor NumPy; :class:`ChangeDetector` runs exported models without PyTorch.
"""

from typing import TYPE_CHECKING, Any

from hsonet_mm import host_imports
from hsonet_mm.version import __version__

if TYPE_CHECKING:
    from hsonet_mm.inference.detector import ChangeDetector

__all__ = ['ChangeDetector', '__version__']

host_imports.install()


def __getattr__(name: str) -> Any:
    """Import what costs time on first use."""
    if name == 'ChangeDetector':
        from hsonet_mm.inference.detector import ChangeDetector

        return ChangeDetector
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
