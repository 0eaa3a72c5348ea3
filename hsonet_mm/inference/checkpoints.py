"""Loading the weights of a checkpoint: safely, completely, or not at all."""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hsonet_mm.errors import UserError

__all__ = ['load_weights']


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load the weights of a checkpoint into the model that it was trained as.

    The file is read as plain tensors, so code in it is never run, and every weight must fit: a checkpoint of
    another model is refused rather than loaded in part.

    Args:
        model: The model.
        path: A file written by a training, or a bare ``state_dict``.

    Raises:
        UserError: if the file is missing, truncated, holds code or belongs to another model.
    """
    state = {key.removeprefix('module.'): value for key, value in _read_state(Path(path)).items()}
    try:
        keys = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        found = re.search(
            r'size mismatch for (\S+):.*?shape (.*?) from.*?model is (.*?)\.?$', str(error), re.M
        )
        if found is None:
            raise
        name, there, here = found.groups()
        raise _other_model(
            path, f'{name} is {_shape(there)} in the file and {_shape(here)} in the model'
        ) from None
    differences = [
        f'{len(names)} weights {what}, first {names[0]}'
        for names, what in (
            (keys.missing_keys, 'of the model are missing'),
            (keys.unexpected_keys, 'are unknown to it'),
        )
        if names
    ]
    if differences:
        raise _other_model(path, '; '.join(differences))


def _shape(text: str) -> str:
    """``torch.Size([2, 3])`` in short."""
    return text.replace('torch.Size', '')


def _other_model(path: str | Path, reason: str) -> UserError:
    return UserError(
        f'{path} is a checkpoint of another model than the config describes ({reason}): '
        'give the config that it was trained with'
    )


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise UserError(f'the checkpoint {path} does not exist: give a .pth file that a training wrote')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r'GLOBAL (\S+)', str(error))
        if code is None:
            raise UserError(f'{path} is no checkpoint: give a .pth file that a training wrote') from None
        raise UserError(
            f'{path} holds code ({code[1]}), which could do anything when it is loaded: '
            'where you trust it, save its state_dict alone, and give that file'
        ) from None
    except (RuntimeError, EOFError):
        raise UserError(f'the checkpoint {path} is truncated or damaged: copy it again') from None
    except Exception:  # whatever the bytes of another file lead the unpickler to
        raise UserError(
            f'{path} is no checkpoint, or damaged: give a .pth file that a training wrote'
        ) from None
    state: Any = content.get('state_dict', content) if isinstance(content, dict) else None
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f'{path} holds no weights: give a .pth file that a training wrote')
    return dict(state)
