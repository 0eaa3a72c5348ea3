"""Heads."""

from hsonet_mm.opencd_lite.decode_heads.bit_head import BITHead
from hsonet_mm.opencd_lite.decode_heads.changer import Changer
from hsonet_mm.opencd_lite.decode_heads.changestar_head import ChangeStarHead
from hsonet_mm.opencd_lite.decode_heads.farseg_head import FarSegHead
from hsonet_mm.opencd_lite.decode_heads.identity_head import IdentityHead

__all__ = ['BITHead', 'ChangeStarHead', 'Changer', 'FarSegHead', 'IdentityHead']
