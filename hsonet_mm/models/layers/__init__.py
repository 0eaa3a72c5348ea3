"""Building blocks of backbones and heads."""

from hsonet_mm.models.layers.association import SceneAssociation
from hsonet_mm.models.layers.dates import split_dates
from hsonet_mm.models.layers.decoder import DetailDecoder, PyramidDecoder
from hsonet_mm.models.layers.ussfc import SSFC, CMConv, MSDConvSSFC

__all__ = [
    'SSFC',
    'CMConv',
    'DetailDecoder',
    'MSDConvSSFC',
    'PyramidDecoder',
    'SceneAssociation',
    'split_dates',
]
