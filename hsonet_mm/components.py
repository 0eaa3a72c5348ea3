"""Importing this module prepares the host and registers every component; MMEngine does so at the first look-up.

Raises :class:`ImportError` where the OpenMMLab packages are missing or do not fit together.
"""

from hsonet_mm.opencd import compat

compat.prepare_host()
if not compat.OPENCD_AVAILABLE:
    from hsonet_mm.baselines import opencd as opencd_baselines  # noqa: F401
    from hsonet_mm.opencd import stand_in  # noqa: F401
from hsonet_mm import baselines, datasets, engine, evaluation, models  # noqa: E402, F401
