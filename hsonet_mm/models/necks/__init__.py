"""Necks: V-FPN."""

from hsonet_mm.models.necks.vfpn import VFPN

__all__ = ['VFPN']
