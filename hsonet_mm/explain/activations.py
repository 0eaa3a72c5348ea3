"""Outputs of layers for a pair: the dates they depend on, relation maps, and the input of the classifier."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hsonet_mm.errors import UserError
from hsonet_mm.inference.torch_model import TorchModel
from hsonet_mm.models.layers import SceneAssociation

__all__ = ['Layer', 'classifier_input', 'find_layer', 'layers', 'relation_maps']

APART = ('before', 'after')
"""The maps of a layer that sees each date by itself."""
ANSWERS = {
    (True, False): 'before',
    (False, True): 'after',
    (True, True): 'both dates',
    (False, False): 'neither date',
}
"""What a map is called by whether it changes with the first and with the second date."""
SHOWN = 40
"""Names of layers in a message."""

Calls = list[tuple[int, list[float]]]
"""Of each call of a layer the channels and a sum over each map."""
Hook = Callable[[str, nn.Module, tuple[Any, ...], Any], None]


@dataclass(frozen=True)
class Layer:
    """A layer with feature maps.

    Attributes:
        name: Its name in the network.
        calls: How often it runs for a pair: a Siamese network takes the dates as one batch or one by one.
        maps: What each of its maps answers to, in order: ``before``, ``after``, ``both dates``; numbered where several
            answer to the same.
        channels: Channels of its maps.
    """

    name: str
    calls: int
    maps: tuple[str, ...]
    channels: int


def layers(model: TorchModel, batch: Mapping[str, Any]) -> dict[str, Layer]:
    """All layers with feature maps, in the order in which they finish.

    Which dates a map answers to is tried out: in two more passes, noise takes the place of one date.

    Example:
        >>> import numpy as np
        >>> model = TorchModel(None, 'buildings')  # the model that comes with the package
        >>> batch = model.prepare(*np.zeros((2, 1, 64, 64, 3), np.uint8))
        >>> layers(model, batch)['decode_head.decoder'].maps
        ('before', 'after')
    """
    inputs = batch['inputs']
    t1, t2 = inputs.chunk(2, dim=1)
    noise = torch.randn(t1.shape, generator=torch.Generator().manual_seed(0)).to(t1)
    found, *others = (
        _fingerprints(model, {**batch, 'inputs': one})
        for one in (inputs, torch.cat([noise, t2], dim=1), torch.cat([t1, noise], dim=1))
    )
    return {name: _layer(name, calls, *(other[name] for other in others)) for name, calls in found.items()}


def _layer(name: str, calls: Calls, without_t1: Calls, without_t2: Calls) -> Layer:
    """Describe a layer by its outputs for the pair, and for noise in place of the first and of the second date."""
    sums, *others = ([one for _, call in run for one in call] for run in (calls, without_t1, without_t2))
    answers = [
        ANSWERS[not _alike(one, first), not _alike(one, second)]
        for one, first, second in zip(sums, *others, strict=True)
    ]
    return Layer(name, len(calls), _numbered(answers), calls[0][0])


def _alike(one: float, other: float) -> bool:
    """Whether two sums differ only by rounding, which depends on the memory layout."""
    return math.isclose(one, other, rel_tol=1e-4)


def find_layer(found: Mapping[str, Layer], name: str | None = None) -> Layer:
    """The layer of that name; by default the last one that processes the dates separately.

    That is the decoder of HSONet. A network that mixes the dates from the start has none: of it the last layer before
    the classifier is taken.

    Raises:
        UserError: if there is no layer of that name, or it gives no maps.

    Example:
        >>> decoder, head = Layer('decoder', 1, ('before', 'after'), 48), Layer('head', 1, ('both dates',), 1)
        >>> find_layer({'decoder': decoder, 'head': head}).name
        'decoder'
    """
    if name is not None and name not in found:
        outermost = [one for one in found if one.rpartition('.')[0] not in found]
        more = f' and {len(outermost) - SHOWN} more' if len(outermost) > SHOWN else ''
        raise UserError(
            f"invalid --layer '{name}': expected a layer with feature maps, such as "
            f'{", ".join(outermost[:SHOWN])}{more}, or a layer inside one of these'
        )
    if name is not None:
        return found[name]
    last = list(found.values())[::-1]
    apart = (one for one in last if one.maps == APART)
    wide = (one for one in last if one.channels > 2)
    return next(apart, None) or next(wide, last[0])


def relation_maps(model: TorchModel, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Relation maps r_i of each level of the pyramid, as the head computes them.

    Returns:
        By level, finest first: ``p2``, ``p3`` and so on where the finest has a stride of 4 pixels. Empty for a network
        without foreground-scene association.

    Shapes:
        (2, H_i, W_i) each, first date first, of the padded image.

    Example:
        >>> import numpy as np
        >>> model = TorchModel(None, 'buildings')  # the model that comes with the package
        >>> batch = model.prepare(*np.zeros((2, 1, 64, 64, 3), np.uint8))
        >>> [len(relation) for relation in relation_maps(model, batch).values()]  # both dates, level by level
        [2, 2, 2, 2]
    """
    found: list[list[Tensor]] = []

    def compute(_: str, module: nn.Module, inputs: tuple[Any, ...], __: Any) -> None:
        assert isinstance(module, SceneAssociation)
        found.append([relation[:, 0] for relation in module.relations(*inputs)])

    with torch.no_grad(), _hooked(model, compute, SceneAssociation):
        model.log_odds(batch)
    levels = [torch.cat(dates) for dates in zip(*found, strict=True)]
    finest = round(math.log2(batch['inputs'].shape[2] / levels[0].shape[1])) if levels else 0
    return {f'p{number}': level.cpu() for number, level in enumerate(levels, finest)}


def classifier_input(model: TorchModel, batch: Mapping[str, Any]) -> Tensor:
    """The input of the classifier, that is of the last convolution.

    (C, h, w), of the padded image; where the classifier runs several times at one size, one after the other in C.

    Example:
        >>> import numpy as np
        >>> model = TorchModel(None, 'buildings')  # the model that comes with the package
        >>> batch = model.prepare(*np.zeros((2, 1, 64, 64, 3), np.uint8))
        >>> features = classifier_input(model, batch)
        >>> len(features) == model.network.decode_head.conv_seg.in_channels
        True
    """
    seen: dict[str, list[Tensor]] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Any, ...], __: Any) -> None:
        seen[name] = [*seen.pop(name, []), inputs[0]]

    with torch.no_grad(), _hooked(model, note, _ConvNd):
        model.log_odds(batch)
    *_, last = seen.values()
    return torch.cat([one.flatten(0, 1) for one in last if one.shape[2:] == last[-1].shape[2:]])


def _fingerprints(model: TorchModel, batch: Mapping[str, Any]) -> dict[str, Calls]:
    """Fingerprints of the outputs of all layers with feature maps, in the order in which they finish."""
    found: dict[str, Calls] = {}

    def note(name: str, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            prints = output.float().square().sum(dim=(1, 2, 3)).tolist()
            found[name] = [*found.pop(name, []), (output.shape[1], prints)]

    with torch.no_grad(), _hooked(model, note, nn.Module):
        model.log_odds(batch)
    return found


@contextmanager
def _hooked(model: TorchModel, hook: Hook, kind: type[nn.Module]) -> Iterator[None]:
    """Call a hook after each layer of one kind, with its name."""

    def named(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: hook(name, module, inputs, output)

    handles = [
        module.register_forward_hook(named(name))
        for name, module in model.network.named_modules()
        if name and isinstance(module, kind)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _numbered(names: list[str]) -> tuple[str, ...]:
    """Unique names; repeated ones are numbered."""
    counts, seen = Counter(names), Counter[str]()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f'{name} {seen[name]}' if counts[name] > 1 else name)
    return tuple(numbered)
