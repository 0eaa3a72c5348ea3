"""The names under which Open-CD's configs know their data sets."""

from hsonet_mm.datasets import ChangeDataset
from hsonet_mm.opencd.registry import DATASETS

__all__ = ['NAMES']

NAMES = {
    'LEVIR_CD_Dataset': 'LEVIR-CD (Chen and Shi, 2020)',
    'WHU_CD_Dataset': 'WHU-CD (Ji et al., 2019)',
    'SVCD_Dataset': 'CDD, which Open-CD calls SVCD (Lebedev et al., 2018)',
    'SYSU_CD_Dataset': 'SYSU-CD (Shi et al., 2022); not in Open-CD 1.1',
    'GZ_CD_Dataset': 'GZ-CD (Peng et al., 2021); not in Open-CD 1.1',
}
"""Unlike Open-CD's, they take any kind of image unless told otherwise."""

DATASETS.register_module(name=list(NAMES), module=ChangeDataset)
