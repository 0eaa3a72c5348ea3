"""The registries of scope ``hsonet_mm``, children of MMEngine's root registries.

A config names a component of this package as ``type='hsonet_mm.VFPN'`` after
``custom_imports = dict(imports=['hsonet_mm'])``. MMEngine looks a scope up in the
module ``<scope>.registry``, which is why this file has this name.
"""

from mmengine.registry import DATA_SAMPLERS as ROOT_DATA_SAMPLERS
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import LOOPS as ROOT_LOOPS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import Registry

__all__ = ['DATASETS', 'DATA_SAMPLERS', 'HOOKS', 'LOOPS', 'METRICS', 'MODELS', 'TRANSFORMS']

SCOPE = 'hsonet_mm'

DATA_SAMPLERS = Registry('data sampler', parent=ROOT_DATA_SAMPLERS, scope=SCOPE)
DATASETS = Registry('dataset', parent=ROOT_DATASETS, scope=SCOPE)
HOOKS = Registry('hook', parent=ROOT_HOOKS, scope=SCOPE)
LOOPS = Registry('loop', parent=ROOT_LOOPS, scope=SCOPE)
METRICS = Registry('metric', parent=ROOT_METRICS, scope=SCOPE)
MODELS = Registry('model', parent=ROOT_MODELS, scope=SCOPE)
TRANSFORMS = Registry('transform', parent=ROOT_TRANSFORMS, scope=SCOPE)
