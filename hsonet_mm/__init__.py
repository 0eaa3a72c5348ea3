"""HSONet for MMSegmentation and Open-CD: change detection in high-resolution remote-sensing images.

Importing the package registers its components in scope ``hsonet_mm``. Where Open-CD is not installed, a small
stand-in (:mod:`hsonet_mm.opencd`) registers the part of Open-CD's interface that the configs use in scope
``opencd``, so that one config runs on both. Without PyTorch there are no components, and :class:`ChangeDetector` runs
exported models.
"""

from importlib.util import find_spec

from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.version import __version__

if find_spec('torch') is not None:
    from hsonet_mm import compat

    compat.prepare_host()
    if not compat.OPENCD_AVAILABLE:
        from hsonet_mm import opencd  # noqa: F401
        from hsonet_mm.baselines import opencd as opencd_baselines  # noqa: F401
    from hsonet_mm import baselines, datasets, engine, evaluation, models  # noqa: F401

__all__ = ['ChangeDetector', '__version__']
