"""Networks: backbones, necks, heads, losses and detectors."""

from hsonet_mm.models.backbones import DetailBranch, EfficientNetLite, PVTv2
from hsonet_mm.models.decode_heads import FSAssociationHead
from hsonet_mm.models.detectors import ChangeTTAModel, SiamEncoderDecoder
from hsonet_mm.models.losses import BinaryDiceLoss, BinaryFocalLoss, EOLoss
from hsonet_mm.models.necks import VFPN

__all__ = [
    'VFPN',
    'BinaryDiceLoss',
    'BinaryFocalLoss',
    'ChangeTTAModel',
    'DetailBranch',
    'EOLoss',
    'EfficientNetLite',
    'FSAssociationHead',
    'PVTv2',
    'SiamEncoderDecoder',
]
