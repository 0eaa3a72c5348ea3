"""Decode heads: the foreground-scene association head."""

from hsonet_mm.models.decode_heads.fs_association_head import FSAssociationHead

__all__ = ['FSAssociationHead']
