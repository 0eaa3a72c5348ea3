"""The stand-in for Open-CD: importing this module registers it.

:mod:`hsonet_mm.components` imports it if, and only if, Open-CD cannot be imported. The components register in scope
``opencd`` under Open-CD's names and keep its call contracts and state-dict keys, so that one config runs on both and a
checkpoint moves between them. They are thin layers over MMEngine, MMCV and MMSegmentation; for all of Open-CD, see
Li et al., *Open-CD: A Comprehensive Toolbox for Change Detection*, arXiv 2407.15317.
"""

from hsonet_mm.opencd import (
    data_preprocessor,
    datasets,
    detectors,
    feature_fusion,
    identity_head,
    transforms,
    visualization,
)

MODULES = (data_preprocessor, datasets, detectors, feature_fusion, identity_head, transforms, visualization)
"""The modules of the stand-in."""
