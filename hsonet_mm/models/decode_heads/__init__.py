"""Decode heads: the foreground-scene association head and a plain U-Net decoder."""

from hsonet_mm.models.decode_heads.fs_association_head import FSAssociationHead
from hsonet_mm.models.decode_heads.unet_head import UNetHead

__all__ = ['FSAssociationHead', 'UNetHead']
