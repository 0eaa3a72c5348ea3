"""Size of a model: parameters, and MACs for one pair of images."""

from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from hsonet_mm.config import read_config
from hsonet_mm.errors import UserError

__all__ = ['build_untrained', 'macs', 'parameters']


def parameters(model: nn.Module) -> int:
    """Number of parameters, including frozen ones but not buffers such as batch-norm statistics."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, size: tuple[int, int] = (256, 256)) -> int:
    """Multiply-accumulate operations of the forward pass of one pair (of one image, where a model takes one).

    Convolutions, linear layers and attention count, as PyTorch's own counter meets them while the network
    runs; it takes a multiplication and an addition for two operations, so its figure is halved. Norms,
    activations, pooling and interpolation are free. Other counters differ on the same network by a factor of
    two and more: compare figures of one counter only.
    """
    channels_of_a_date = getattr(model, 'backbone_inchannels', None)
    channels = 3 if channels_of_a_date is None else 2 * channels_of_a_date
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
            model(torch.zeros(1, channels, *size, device=device))
    finally:
        model.train(training)
    return int(counter.get_total_flops()) // 2


def _attention_flop(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """FLOPs of attention from the shapes of its three inputs."""
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


# PyTorch's counter knows the attention kernels of GPUs alone and would leave this one out without a word.
_CPU_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop}


def build_untrained(config: str | Path) -> nn.Module:
    """The model of a config with random weights; nothing is downloaded."""
    cfg = read_config(config)
    if 'model' not in cfg:
        raise UserError(f'the config {config} does not define a model: give one for training')
    init_default_scope(cfg.get('default_scope', 'opencd'))
    model: nn.Module = MODELS.build(cfg.model)
    return model
