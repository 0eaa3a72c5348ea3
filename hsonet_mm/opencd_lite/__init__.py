"""The part of Open-CD's interface that our configs and baselines use, for environments without Open-CD.

:mod:`hsonet_mm` imports this package if, and only if, Open-CD cannot be imported. The components register
in scope ``opencd`` under Open-CD's names and keep its call contracts and state-dict keys, so that one
config runs on both and a checkpoint moves between them. They are thin layers over MMEngine, MMCV and
MMSegmentation; see the Open-CD project (Li et al., *Open-CD: A Comprehensive Toolbox for Change Detection*,
arXiv 2407.15317) for the whole.
"""

from hsonet_mm.opencd_lite.backbones import (
    FC_EF,
    FC_Siam_conc,
    FC_Siam_diff,
    IA_ResNet,
    IA_ResNetV1c,
    SNUNet_ECAM,
    TinyCD,
)
from hsonet_mm.opencd_lite.data_preprocessor import DualInputSegDataPreProcessor
from hsonet_mm.opencd_lite.datasets import (
    GZ_CD_Dataset,
    LEVIR_CD_Dataset,
    SVCD_Dataset,
    SYSU_CD_Dataset,
    WHU_CD_Dataset,
)
from hsonet_mm.opencd_lite.decode_heads import BITHead, Changer, ChangeStarHead, FarSegHead, IdentityHead
from hsonet_mm.opencd_lite.detectors import DIEncoderDecoder, SiamEncoderDecoder
from hsonet_mm.opencd_lite.interaction import (
    Aggregation_distribution,
    ChannelExchange,
    SpatialExchange,
    TwoIdentity,
)
from hsonet_mm.opencd_lite.necks import FarSegFPN, FeatureFusionNeck
from hsonet_mm.opencd_lite.transforms import (
    MultiImgExchangeTime,
    MultiImgPackSegInputs,
    MultiImgPhotoMetricDistortion,
    MultiImgRandomCrop,
    MultiImgRandomFlip,
    MultiImgRandomRotate,
    MultiImgRandomRotFlip,
    MultiImgResize,
)
from hsonet_mm.opencd_lite.visualization import CDLocalVisBackend, CDLocalVisualizer, CDVisualizationHook

__all__ = [
    'FC_EF',
    'Aggregation_distribution',
    'BITHead',
    'CDLocalVisBackend',
    'CDLocalVisualizer',
    'CDVisualizationHook',
    'ChangeStarHead',
    'Changer',
    'ChannelExchange',
    'DIEncoderDecoder',
    'DualInputSegDataPreProcessor',
    'FC_Siam_conc',
    'FC_Siam_diff',
    'FarSegFPN',
    'FarSegHead',
    'FeatureFusionNeck',
    'GZ_CD_Dataset',
    'IA_ResNet',
    'IA_ResNetV1c',
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
    'SNUNet_ECAM',
    'SVCD_Dataset',
    'SYSU_CD_Dataset',
    'SiamEncoderDecoder',
    'SpatialExchange',
    'TinyCD',
    'TwoIdentity',
    'WHU_CD_Dataset',
]
