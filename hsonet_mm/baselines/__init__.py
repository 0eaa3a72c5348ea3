"""The methods that HSONet is compared with, written from their papers.

Where Open-CD has a method, it is registered in scope ``opencd`` under Open-CD's names, with its call contract and
state-dict keys, and only where Open-CD is not installed (:mod:`hsonet_mm.baselines.opencd`).
"""

from hsonet_mm.baselines.unet_head import UNetHead
from hsonet_mm.baselines.ussfc_layers import SSFC, CMConv, MSDConvSSFC
from hsonet_mm.baselines.ussfc_net import USSFCNet

__all__ = ['SSFC', 'CMConv', 'MSDConvSSFC', 'UNetHead', 'USSFCNet']
