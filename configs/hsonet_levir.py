"""HSONet, ResNet-18, on LEVIR-CD: the stable entry."""

from mmengine.config import read_base

with read_base():
    from ._base_.hsonet_r18 import *
    from ._base_.levir_256 import *
    from ._base_.runtime import *
    from ._base_.schedule_40k import *
