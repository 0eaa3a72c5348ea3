"""Heads of which each refines the one before it, as MMSegmentation's ``CascadeEncoderDecoder`` has them."""

from typing import Any

from torch import nn

__all__ = ['last_head']


def last_head(network: Any) -> Any:
    """The head whose output counts: the last of a cascade, else the only one."""
    head = network.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head
