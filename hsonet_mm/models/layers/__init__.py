"""Building blocks of the heads."""

from hsonet_mm.models.layers.association import SceneAssociation
from hsonet_mm.models.layers.decoder import PyramidDecoder

__all__ = ['PyramidDecoder', 'SceneAssociation']
