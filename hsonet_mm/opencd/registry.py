"""The registries of scope ``opencd``: one child for each of MMEngine's root registries."""

import sys

from mmengine import registry as roots
from mmengine.registry import Registry

from hsonet_mm.opencd import compat
from hsonet_mm.registry import LOCATIONS

__all__ = ['DATASETS', 'HOOKS', 'MODELS', 'SCOPE', 'TRANSFORMS', 'VISBACKENDS', 'VISUALIZERS']

SCOPE = 'opencd_lite' if compat.OPENCD_AVAILABLE else 'opencd'
"""``opencd``; beside the real Open-CD, where only tests import this package, a scope of its own."""


def _child(root: Registry) -> Registry:
    """The registry of our scope below a root, in place of what a broken Open-CD may have left there."""
    root.children.pop(SCOPE, None)
    return Registry(root.name, parent=root, scope=SCOPE, locations=LOCATIONS)


# A registry of every kind, since MMEngine warns at each build of a kind that the default scope lacks.
_CHILDREN = {name: _child(root) for name, root in vars(roots).items() if isinstance(root, Registry)}

DATASETS = _CHILDREN['DATASETS']
HOOKS = _CHILDREN['HOOKS']
MODELS = _CHILDREN['MODELS']
TRANSFORMS = _CHILDREN['TRANSFORMS']
VISBACKENDS = _CHILDREN['VISBACKENDS']
VISUALIZERS = _CHILDREN['VISUALIZERS']

# MMEngine imports ``<scope>.registry`` at each build in a scope, and warns if there is none.
sys.modules[f'{SCOPE}.registry'] = sys.modules[__name__]
