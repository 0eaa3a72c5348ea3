"""The baselines that Open-CD has as well, under its names; importing this module registers them."""

from hsonet_mm.baselines.bit import BITHead
from hsonet_mm.baselines.changer import (
    Aggregation_distribution,
    Changer,
    ChannelExchange,
    IA_ResNet,
    IA_ResNetV1c,
    SpatialExchange,
    TwoIdentity,
)
from hsonet_mm.baselines.changestar import ChangeStarHead, FarSegHead
from hsonet_mm.baselines.fcsn import FC_EF, FC_Siam_conc, FC_Siam_diff
from hsonet_mm.baselines.snunet import SNUNet_ECAM
from hsonet_mm.baselines.tinycd import TinyCD
from hsonet_mm.models.necks import VFPN
from hsonet_mm.opencd.registry import MODELS

__all__ = [
    'FC_EF',
    'Aggregation_distribution',
    'BITHead',
    'ChangeStarHead',
    'Changer',
    'ChannelExchange',
    'FC_Siam_conc',
    'FC_Siam_diff',
    'FarSegHead',
    'IA_ResNet',
    'IA_ResNetV1c',
    'SNUNet_ECAM',
    'SpatialExchange',
    'TinyCD',
    'TwoIdentity',
]

# It is also hsonet_mm.TinyCD, since only ours has the authors' classifier.
MODELS.register_module(module=TinyCD)
# The name by which Open-CD's configs know such a neck; outputs checked against Open-CD 1.1.
MODELS.register_module(name='FarSegFPN', module=VFPN)
