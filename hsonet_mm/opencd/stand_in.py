"""The stand-in for Open-CD: importing this module registers it.

:mod:`hsonet_mm.components` imports it if, and only if, Open-CD cannot be imported. The components register in scope
``opencd`` under Open-CD's names and keep its call contracts and state-dict keys, so that one config runs on both and a
checkpoint moves between them. They are thin layers over MMEngine, MMCV and MMSegmentation; see the Open-CD project (Li
et al., *Open-CD: A Comprehensive Toolbox for Change Detection*, arXiv 2407.15317) for the whole.
"""

from hsonet_mm.opencd.data_preprocessor import DualInputSegDataPreProcessor
from hsonet_mm.opencd.datasets import (
    GZ_CD_Dataset,
    LEVIR_CD_Dataset,
    SVCD_Dataset,
    SYSU_CD_Dataset,
    WHU_CD_Dataset,
)
from hsonet_mm.opencd.detectors import DIEncoderDecoder, SiamEncoderDecoder
from hsonet_mm.opencd.feature_fusion import FeatureFusionNeck
from hsonet_mm.opencd.identity_head import IdentityHead
from hsonet_mm.opencd.transforms import (
    MultiImgExchangeTime,
    MultiImgPackSegInputs,
    MultiImgPhotoMetricDistortion,
    MultiImgRandomCrop,
    MultiImgRandomFlip,
    MultiImgRandomRotate,
    MultiImgRandomRotFlip,
    MultiImgResize,
)
from hsonet_mm.opencd.visualization import CDLocalVisBackend, CDLocalVisualizer, CDVisualizationHook

__all__ = [
    'CDLocalVisBackend',
    'CDLocalVisualizer',
    'CDVisualizationHook',
    'DIEncoderDecoder',
    'DualInputSegDataPreProcessor',
    'FeatureFusionNeck',
    'GZ_CD_Dataset',
    'IdentityHead',
    'LEVIR_CD_Dataset',
    'MultiImgExchangeTime',
    'MultiImgPackSegInputs',
    'MultiImgPhotoMetricDistortion',
    'MultiImgRandomCrop',
    'MultiImgRandomFlip',
    'MultiImgRandomRotFlip',
    'MultiImgRandomRotate',
    'MultiImgResize',
    'SVCD_Dataset',
    'SYSU_CD_Dataset',
    'SiamEncoderDecoder',
    'WHU_CD_Dataset',
]
