"""Exported models with weights in half precision under the names of the network, so that PyTorch loads them too.

An exporter folds batch norms into convolutions and merges what is equal. So the weights go through it as inputs, which
it leaves alone, and become constants afterwards: kernels in half precision, which the graph turns into single precision
at its start, as runtimes do once when they load the file; vectors, a hundredth of it, as they are. The runtimes fold
the batch norms.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from hsonet_mm.errors import UserError
from hsonet_mm.export.graph import PairToProbs
from hsonet_mm.exported.metadata import STATE

__all__ = ['PairAndWeights', 'round_weights', 'store_weights', 'weights_of']


class PairAndWeights(nn.Module):
    """:class:`~hsonet_mm.export.graph.PairToProbs` with the weights of its network as a second input."""

    def __init__(self, module: PairToProbs) -> None:
        super().__init__()
        self._module = [module]  # in a list, so that its weights are not those of this module
        self.channels = module.channels

    def forward(self, pair: Tensor, weights: dict[str, Tensor]) -> Tensor:
        """Probability of change, (N, 1, H, W)."""
        state = {f'network.{name}': value for name, value in weights.items()}
        probs: Tensor = functional_call(self._module[0], state, (pair,))
        return probs


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a network by name, without the batch counters of its norms."""
    state: dict[str, Tensor] = network.state_dict()
    return {name: value for name, value in state.items() if value.is_floating_point()}


def round_weights(network: nn.Module) -> None:
    """Round the kernels of a network, in place, to half precision."""
    for name, weight in weights_of(network).items():
        if weight.ndim > 1:
            rounded = weight.half().float()
            if not torch.isfinite(rounded).all():
                raise UserError(
                    f'{name} contains values that half precision cannot represent: export without --fp16'
                )
            weight.copy_(rounded)


def store_weights(model: Any, weights: Mapping[str, Tensor]) -> None:
    """Turn the inputs of an ONNX model that are weights into constants, in place.

    Its inputs after the first are the weights by their names; kernels are stored in half precision.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    for name, weight in weights.items():
        values = weight.detach().cpu().numpy()
        if values.ndim > 1:
            values = values.astype(np.float16)
            casts.append(
                helper.make_node('Cast', [STATE + name], [name], name=f'{name}/cast', to=TensorProto.FLOAT)
            )
        graph.initializer.append(numpy_helper.from_array(values, STATE + name))
    vectors = {name: STATE + name for name, weight in weights.items() if weight.ndim <= 1}
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = vectors.get(name, name)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.input[1:]
