"""The names under which Open-CD's configs know their data sets."""

from hsonet_mm.datasets import ChangeDataset
from hsonet_mm.opencd.registry import DATASETS

__all__ = ['GZ_CD_Dataset', 'LEVIR_CD_Dataset', 'SVCD_Dataset', 'SYSU_CD_Dataset', 'WHU_CD_Dataset']


@DATASETS.register_module()
class LEVIR_CD_Dataset(ChangeDataset):  # noqa: N801
    """LEVIR-CD (Chen and Shi, 2020); unlike Open-CD's, it takes any kind of image unless told otherwise."""


@DATASETS.register_module()
class WHU_CD_Dataset(ChangeDataset):  # noqa: N801
    """WHU-CD (Ji et al., 2019)."""


@DATASETS.register_module()
class SVCD_Dataset(ChangeDataset):  # noqa: N801
    """CDD, which Open-CD calls SVCD (Lebedev et al., 2018)."""


@DATASETS.register_module()
class SYSU_CD_Dataset(ChangeDataset):  # noqa: N801
    """SYSU-CD (Shi et al., 2022); not in Open-CD 1.1, where ``hsonet_mm.ChangeDataset`` serves."""


@DATASETS.register_module()
class GZ_CD_Dataset(ChangeDataset):  # noqa: N801
    """GZ-CD (Peng et al., 2021); not in Open-CD 1.1, where ``hsonet_mm.ChangeDataset`` serves."""
