"""The registries of scope ``hsonet_mm``, children of MMEngine's root registries.

A config names a component of this package as ``type='hsonet_mm.VFPN'`` after
``custom_imports = dict(imports=['hsonet_mm'])``. MMEngine looks a scope up in the
module ``<scope>.registry``, which is why this file has this name, and then imports the components.
"""

from mmengine.registry import DATA_SAMPLERS as ROOT_DATA_SAMPLERS
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import LOOPS as ROOT_LOOPS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPERS as ROOT_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import Registry

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'HOOKS',
    'LOCATIONS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'TRANSFORMS',
]

SCOPE = 'hsonet_mm'
LOCATIONS = ['hsonet_mm.components']
"""What MMEngine imports at the first look-up in one of our registries."""

DATA_SAMPLERS = Registry('data sampler', parent=ROOT_DATA_SAMPLERS, scope=SCOPE, locations=LOCATIONS)
DATASETS = Registry('dataset', parent=ROOT_DATASETS, scope=SCOPE, locations=LOCATIONS)
HOOKS = Registry('hook', parent=ROOT_HOOKS, scope=SCOPE, locations=LOCATIONS)
LOOPS = Registry('loop', parent=ROOT_LOOPS, scope=SCOPE, locations=LOCATIONS)
METRICS = Registry('metric', parent=ROOT_METRICS, scope=SCOPE, locations=LOCATIONS)
MODELS = Registry('model', parent=ROOT_MODELS, scope=SCOPE, locations=LOCATIONS)
OPTIM_WRAPPERS = Registry('optimizer wrapper', parent=ROOT_OPTIM_WRAPPERS, scope=SCOPE, locations=LOCATIONS)
TRANSFORMS = Registry('transform', parent=ROOT_TRANSFORMS, scope=SCOPE, locations=LOCATIONS)
