"""Safe loading of checkpoints: all weights, or on request those that fit."""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hsonet_mm.bands import adapt_bands
from hsonet_mm.errors import UserError
from hsonet_mm.exported.metadata import STATE, Metadata
from hsonet_mm.exported.onnx_file import read_props, read_weights
from hsonet_mm.images import Reading
from hsonet_mm.pretrained import model_names, model_path
from hsonet_mm.texts import counted

__all__ = ['Checkpoint', 'Fit', 'load_fitting', 'load_weights', 'read_checkpoint']

WRAPPERS = ('module', '_orig_mod', 'model', 'ema_model')
"""Names that wrappers put into keys: DistributedDataParallel and averaged models, torch.compile, Lightning, EMA."""
COUNTERS = ('steps', 'n_averaged')
"""What averaged models of MMEngine and PyTorch keep beside weights."""
CONTAINERS = ('state_dict', 'model_state_dict', 'model')
"""Where files keep their weights; others are a bare ``state_dict``."""


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file.

    Attributes:
        meta: What MMEngine notes of the training: ``iter``, ``epoch``, ``seed`` ..., and our ``val_threshold``.
        exported: What an exported model says about itself; None for files of a training.
    """

    path: Path
    state: Mapping[str, Tensor]
    meta: Mapping[str, Any]
    content: Mapping[str, Any]
    exported: Metadata | None = None

    @property
    def reading(self) -> Reading:
        """How the files of the data set were read, as recorded by :class:`hsonet_mm.ChangeDataset`."""
        if self.exported is not None:
            return Reading.from_dict(self.exported.reading)
        data_set = self.meta.get('dataset_meta')
        return Reading.from_dict(data_set.get('reading') if isinstance(data_set, Mapping) else None)

    @property
    def threshold(self) -> tuple[float, str] | None:
        """The validation threshold stored by the training, and its origin in words; None if it has none.

        That of an exported model holds for probabilities at its temperature.
        """
        if self.exported is not None:
            return self.exported.threshold, self.exported.threshold_source
        noted = self.meta.get('val_threshold')
        if not isinstance(noted, Mapping):
            return None
        value, iteration = noted.get('value'), noted.get('iter')
        if not isinstance(value, float) or not 0 < value < 1:
            raise UserError(
                f'invalid threshold {value} in the checkpoint {self.path}: expected a number between 0 '
                'and 1; give one with --threshold'
            )
        return value, f'of validation at iteration {iteration}, in {self.path.name}'


@dataclass(frozen=True)
class Fit:
    """Result of loading the weights that fit.

    Attributes:
        loaded: How many weights of the model are from the file.
        adapted: First convolutions whose number of bands was adapted, in words.
        kept: Weights of the model that the file lacks or has in another shape, in words; they stay as they were.
        unused: Weights of the file that the model does not have.
    """

    loaded: int
    adapted: list[str]
    kept: list[str]
    unused: list[str]


def load_weights(model: nn.Module, source: str | Path | Checkpoint) -> Checkpoint:
    """Load the weights of a checkpoint into a model of the same architecture, and return its content.

    The file is read as plain tensors, so code in it is never run, and every weight must fit: a checkpoint of another
    model is refused rather than loaded in part. Names that wrappers put before or into the names of weights
    (``module.``, ``_orig_mod.``, ``model.``, ``ema_model.``) are left out; of a model and its moving average in one
    file, the average is taken. Where one part has all weights of the model, as the backbone of TinyCD, its name may be
    missing: that is how the file of a network by itself, without a detector around it, names them. The source is a file
    written by a training, a bare ``state_dict``, or its content.

    Raises:
        UserError: if the file is missing, truncated, contains code or belongs to another model.
    """
    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    own = model.state_dict()
    # Counters of batches change no prediction; old and converted files lack them.
    counters = {name: weight for name, weight in own.items() if name.endswith('.num_batches_tracked')}
    state = counters | _unwrapped(checkpoint.state, own)
    wrong = [name for name in own if name in state and state[name].shape != own[name].shape]
    if wrong:
        raise _other_model(checkpoint.path, _shapes(wrong[0], state, own))
    differences = [
        f'{what} {counted(len(names), "weight")}, first {names[0]}'
        for names, what in (
            ([name for name in own if name not in state], 'the file lacks'),
            ([name for name in state if name not in own], 'the model does not have'),
        )
        if names
    ]
    if differences:
        raise _other_model(checkpoint.path, '; '.join(differences))
    model.load_state_dict(state)
    return checkpoint


def load_fitting(model: nn.Module, source: str | Path | Checkpoint) -> Fit:
    """Load the weights of a checkpoint that fit into a model, to fine-tune from them.

    A first convolution for another number of bands is adapted by :func:`~hsonet_mm.bands.adapt_bands`. All else must
    have its shape. The preprocessor of the model says how many bands a date has.
    """
    own = model.state_dict()
    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    state = _unwrapped(checkpoint.state, own)
    taken: dict[str, Tensor] = {}
    adapted, kept = list[str](), list[str]()
    mean = getattr(getattr(model, 'data_preprocessor', None), 'mean', None)  # of both dates
    bands = mean.numel() // 2 if isinstance(mean, Tensor) and mean.numel() > 1 else None
    for name, weight in own.items():
        given = state.get(name)
        if given is None:
            kept.append(f'{name} (not in the file)')
        elif given.shape == weight.shape:
            taken[name] = given
        elif bands and (kernel := _for_bands(given, weight, bands)) is not None:
            taken[name] = kernel
            adapted.append(_shapes(name, state, own))
        else:
            kept.append(_shapes(name, state, own))
    if not taken:
        raise UserError(
            f'no weight of {checkpoint.path} fits the model of the config: give a checkpoint of a similar model'
        )
    model.load_state_dict(taken, strict=False)
    return Fit(len(taken), adapted, kept, [name for name in state if name not in own])


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint file as plain tensors; code in it is never run.

    Args:
        path: A file written by a training, a bare ``state_dict``, a model that was exported with ``--fp16``, or the
            name of one that comes with the package.

    Raises:
        UserError: if the file is missing, truncated, contains code or no weights.
    """
    path = model_path(str(path)) if str(path) in model_names() else Path(path)
    if not path.is_file():
        reason = 'is a folder' if path.is_dir() else 'does not exist'
        names = ', '.join(model_names()) or 'none is installed'
        raise UserError(
            f'the checkpoint {path} {reason}: give a .pth file that hsonet train wrote, or a packaged model ({names})'
        )
    if path.suffix.lower() == '.onnx':
        return _read_exported(path)
    try:
        content: Any = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r'GLOBAL (\S+)', str(error))
        if code is None:
            raise UserError(f'{path} is not a checkpoint: give a .pth file that hsonet train wrote') from None
        raise UserError(
            f'{path} contains code ({code[1]}), which would be executed on loading: if you trust the '
            'file, save its state_dict alone and give that'
        ) from None
    except (RuntimeError, EOFError) as error:
        if 'TorchScript' in str(error):
            raise UserError(
                f'{path} is a TorchScript program, not a checkpoint: give the .pth file that it was made from'
            ) from None
        raise UserError(f'the checkpoint {path} is truncated or damaged: copy it again') from None
    except Exception:  # whatever the bytes of another file lead the unpickler to
        raise UserError(
            f'{path} is not a checkpoint, or damaged: give a .pth file that hsonet train wrote'
        ) from None
    content = content if isinstance(content, Mapping) else {}
    inner = (content[name] for name in CONTAINERS if isinstance(content.get(name), Mapping))
    state = next(inner, content)
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        keys = f', only {", ".join(map(str, list(content)[:5]))}' if content else ''
        raise UserError(f'{path} contains no weights{keys}: give a .pth file that hsonet train wrote')
    meta = content.get('meta')
    return Checkpoint(path, dict(state), meta if isinstance(meta, Mapping) else {}, content)


def _read_exported(path: Path) -> Checkpoint:
    """Read the weights and the metadata of a model that was exported with ``--fp16``."""
    content = path.read_bytes()
    try:
        props, weights = read_props(content), read_weights(content)
    except ValueError:  # what the bytes of another file lead to
        raise UserError(f'{path} is not an ONNX model, or damaged: copy it again') from None
    metadata = Metadata.from_props(props, str(path))
    if metadata.network is None:
        raise UserError(
            f'{path} was exported for ONNX Runtime and OpenVINO only: give its checkpoint, or export it '
            'with --fp16, which PyTorch can load'
        )
    state = {
        name.removeprefix(STATE): torch.from_numpy(values)
        for name, values in weights.items()
        if name.startswith(STATE)
    }
    norms = [name.removesuffix('running_mean') for name in state if name.endswith('running_mean')]
    state |= {f'{norm}num_batches_tracked': torch.tensor(0) for norm in norms}
    return Checkpoint(path, state, {}, {}, metadata)


def _unwrapped(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of the model, as far as the rules of :func:`load_weights` lead there."""
    found: dict[str, Tensor] = {}
    averaged: dict[str, Tensor] = {}
    only_part, *others = {name.partition('.')[0] for name in own} or ('',)
    for name, weight in state.items():
        parts = name.split('.')
        bare = name if name in own else '.'.join(part for part in parts if part not in WRAPPERS)
        if bare not in own and not others and f'{only_part}.{bare}' in own:
            bare = f'{only_part}.{bare}'
        (averaged if 'ema_model' in parts and bare != name else found)[bare if bare in own else name] = weight
    found |= averaged
    if any(name not in state for name in found):  # something was wrapped
        found = {
            name: w for name, w in found.items() if name in own or name.rpartition('.')[2] not in COUNTERS
        }
    return found


def _for_bands(given: Tensor, weight: Tensor, bands: int) -> Tensor | None:
    """The kernel of a first convolution adapted to another number of bands; None for any other layer.

    Shapes:
        given (O, D * B', k, k) and weight (O, D * B, k, k) of B bands, with D = 1 or, where a network sees both dates
        stacked, D = 2.
    """
    if given.ndim != 4 or given[:, 0].shape != weight[:, 0].shape:
        return None
    dates, rest = divmod(weight.shape[1], bands)
    if rest or dates not in (1, 2) or given.shape[1] % dates:
        return None
    return torch.cat([adapt_bands(part, bands) for part in given.chunk(dates, dim=1)], dim=1)


def _shapes(name: str, there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> str:
    return f'{name} is {list(there[name].shape)} in the file and {list(here[name].shape)} in the model'


def _other_model(path: str | Path, reason: str) -> UserError:
    return UserError(
        f'{path} does not fit the model of the config ({reason}): give the config it was trained with, '
        'or load the weights that fit with hsonet train --init-from'
    )
