"""Plain Siamese U-Net with EfficientNet-Lite0 (ImageNet weights as a package), binary cross entropy.

The dates are concatenated level by level: the form of the plain baseline of "A Change Detection Reality Check" (arXiv
2402.06994), which a method must beat before its gain can be credited to anything but the training recipe.
Concatenation keeps all the information that a difference would discard. The encoder is HSONet-lite's backbone, strides 4 to 32, without the high-resolution branch.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.hsonet_lite import *
    from .._base_.levir_256 import *
    from .._base_.runtime import *
    from .._base_.schedule_40k import *
    from .._base_.unet_head import *

del model['detail']
model.neck = dict(type='FeatureFusionNeck', policy='concat')
model.decode_head = dict(decode_head, in_channels=[2 * 24, 2 * 40, 2 * 112, 2 * 320])
del decode_head
