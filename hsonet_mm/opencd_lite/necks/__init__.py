"""Necks that join the dates."""

from hsonet_mm.opencd_lite.necks.farseg_fpn import FarSegFPN
from hsonet_mm.opencd_lite.necks.feature_fusion import FeatureFusionNeck

__all__ = ['FarSegFPN', 'FeatureFusionNeck']
