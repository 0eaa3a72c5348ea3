"""Building blocks of backbones and heads."""

from hsonet_mm.models.layers.association import SceneAssociation
from hsonet_mm.models.layers.dates import split_dates
from hsonet_mm.models.layers.decoder import DetailDecoder, PyramidDecoder
from hsonet_mm.models.layers.fusion import fusion

__all__ = [
    'DetailDecoder',
    'PyramidDecoder',
    'SceneAssociation',
    'fusion',
    'split_dates',
]
