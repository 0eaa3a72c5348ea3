"""Grad-CAM of class "changed"."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsonet_mm.explain.activations import Layer
from hsonet_mm.explain.extra import require
from hsonet_mm.inference.torch_model import TorchModel

__all__ = ['grad_cam']


def grad_cam(
    model: TorchModel, batch: Mapping[str, Any], layer: Layer, where: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    r"""Grad-CAM of the change of a pair.

    .. math:: \mathrm{CAM} = \mathrm{ReLU}\Big(\sum_c \overline{\frac{\partial S}{\partial A_c}}\, A_c\Big), \quad
              S = \frac{1}{|M|} \sum_{i \in M} z_i

    of the maps :math:`A_c` of a layer, with the gradient averaged over space, as captum's ``LayerGradCam`` has it. The
    score S is the mean log-odds of change over a set of pixels, as in Seg-Grad-CAM; for a pair these are mostly those
    that the network calls changed [choice].

    Args:
        model: The network.
        batch: One prepared pair.
        layer: One of its layers.
        where: The pixels M, (H, W), at least one.

    Returns:
        By map of the layer, (H, W) >= 0, bilinear from its own resolution; 0 where a map does not matter to the score.

    Raises:
        UserError: if captum is not installed.

    References:
        Selvaraju et al., *Grad-CAM*, ICCV 2017, arXiv 1610.02391; Vinogradova et al., *Seg-Grad-CAM*, AAAI 2020,
        arXiv 2002.11434.

    Example:
        >>> from hsonet_mm.explain.activations import find_layer, layers
        >>> model = TorchModel(None, 'buildings')  # the model that comes with the package
        >>> batch = model.prepare(*np.zeros((2, 1, 64, 64, 3), np.uint8))
        >>> cam = grad_cam(model, batch, find_layer(layers(model, batch)), np.ones((64, 64), bool))
        >>> {name: values.shape for name, values in cam.items()}
        {'before': (64, 64), 'after': (64, 64)}
    """
    require('captum')
    from captum.attr import LayerAttribution, LayerGradCam

    # Captum looks at the last call of a layer alone; each call of this one goes through an identity of its own.
    taps = nn.ModuleList(nn.Identity() for _ in range(layer.calls))
    done = 0

    def tap(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        nonlocal done
        done += 1
        passed: Tensor = taps[done - 1](output)
        return passed

    chosen = torch.from_numpy(where)

    def score(inputs: Tensor) -> Tensor:
        nonlocal done
        done = 0
        log_odds = model.log_odds({**batch, 'inputs': inputs})[0]
        return log_odds[chosen.to(log_odds.device)].mean()[None]

    inputs = batch['inputs']
    handle = model.network.get_submodule(layer.name).register_forward_hook(tap)
    maps: list[Tensor] = []
    try:
        for one in taps:
            cam = LayerGradCam(score, one).attribute(
                inputs, relu_attributions=True, grad_kwargs={'materialize_grads': True}
            )
            maps += LayerAttribution.interpolate(cam.detach(), tuple(inputs.shape[2:]), 'bilinear')[:, 0]
    finally:
        handle.remove()
    height, width = where.shape
    return {
        name: values[:height, :width].cpu().numpy() for name, values in zip(layer.maps, maps, strict=True)
    }
