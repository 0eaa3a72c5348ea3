"""Backbones that MMSegmentation lacks, their pre-trained weights, and a high-resolution branch beside any backbone."""

from hsonet_mm.models.backbones.detail_branch import DetailBranch
from hsonet_mm.models.backbones.efficientnet_lite import EfficientNetLite
from hsonet_mm.models.backbones.pvt_v2 import PVTv2

__all__ = ['DetailBranch', 'EfficientNetLite', 'PVTv2']
