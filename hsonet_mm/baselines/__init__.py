"""The methods that HSONet is compared with, written from their papers.

Where Open-CD has a method, it is registered in scope ``opencd`` under Open-CD's names, with its call contract and
state-dict keys, and only where Open-CD is not installed (:mod:`hsonet_mm.baselines.opencd`). What is not in
Open-CD, as TinyCD with its authors' classifier, bears our scope.
"""

from hsonet_mm.baselines.one_date import OneDatePreProcessor
from hsonet_mm.baselines.tinycd import TinyCD
from hsonet_mm.baselines.unet import UNetHead
from hsonet_mm.baselines.ussfc import SSFC, CMConv, MSDConvSSFC, USSFCNet

__all__ = ['SSFC', 'CMConv', 'MSDConvSSFC', 'OneDatePreProcessor', 'TinyCD', 'UNetHead', 'USSFCNet']
