"""Backbones of two dates."""

from hsonet_mm.opencd_lite.backbones.fcsn import FC_EF, FC_Siam_conc, FC_Siam_diff
from hsonet_mm.opencd_lite.backbones.interaction_resnet import IA_ResNet, IA_ResNetV1c
from hsonet_mm.opencd_lite.backbones.snunet import SNUNet_ECAM
from hsonet_mm.opencd_lite.backbones.tinycd import TinyCD

__all__ = ['FC_EF', 'FC_Siam_conc', 'FC_Siam_diff', 'IA_ResNet', 'IA_ResNetV1c', 'SNUNet_ECAM', 'TinyCD']
