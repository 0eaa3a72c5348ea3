"""The registries of scope ``hsonet_mm``, children of MMEngine's root registries.

A config names a component of this package as ``type='hsonet_mm.VFPN'`` after
``custom_imports = dict(imports=['hsonet_mm'])``. MMEngine looks a scope up in the
module ``<scope>.registry``, which is why this file has this name, and then imports the components.
"""

from mmengine import registry as roots
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

DATA_SAMPLERS = Registry('data sampler', parent=roots.DATA_SAMPLERS, scope=SCOPE, locations=LOCATIONS)
DATASETS = Registry('dataset', parent=roots.DATASETS, scope=SCOPE, locations=LOCATIONS)
HOOKS = Registry('hook', parent=roots.HOOKS, scope=SCOPE, locations=LOCATIONS)
LOOPS = Registry('loop', parent=roots.LOOPS, scope=SCOPE, locations=LOCATIONS)
METRICS = Registry('metric', parent=roots.METRICS, scope=SCOPE, locations=LOCATIONS)
MODELS = Registry('model', parent=roots.MODELS, scope=SCOPE, locations=LOCATIONS)
OPTIM_WRAPPERS = Registry('optimizer wrapper', parent=roots.OPTIM_WRAPPERS, scope=SCOPE, locations=LOCATIONS)
TRANSFORMS = Registry('transform', parent=roots.TRANSFORMS, scope=SCOPE, locations=LOCATIONS)
