"""Backbones that MMSegmentation lacks, a branch of detail beside any of them, and where their pre-trained weights come from."""

from hsonet_mm.models.backbones.detail_branch import DetailBranch
from hsonet_mm.models.backbones.efficientnet_lite import EfficientNetLite
from hsonet_mm.models.backbones.pvt_v2 import PVTv2
from hsonet_mm.models.backbones.ussfc_net import USSFCNet

__all__ = ['DetailBranch', 'EfficientNetLite', 'PVTv2', 'USSFCNet']
