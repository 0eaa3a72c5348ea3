"""The contents of an ONNX file, read without ONNX and without a runtime.

The file is a protocol buffer. Of its messages only those are looked at that hold the metadata and the weights.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ['read_props', 'read_weights']

_MODEL_GRAPH, _MODEL_PROPS = 7, 14
_GRAPH_INITIALIZER = 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_DATA = 1, 2, 8, 9
_TYPES = {1: '<f4', 10: '<f2'}
"""Of tensors, by their numbers in ONNX: single and half precision."""


def read_props(content: bytes) -> dict[str, str]:
    """Read the ``metadata_props`` of a model, for runtimes that do not provide them."""
    texts = (
        {number: bytes(value).decode() for number, value in _blocks(prop)}
        for prop in _of(content, _MODEL_PROPS)
    )
    return {text[1]: text.get(2, '') for text in texts}


def read_weights(content: bytes) -> dict[str, NDArray[np.float32]]:
    """Read the constants of single or half precision of a model by their names, in single precision.

    Raises:
        ValueError: if it is cut off or no protocol buffer.
    """
    weights = dict[str, NDArray[np.float32]]()
    for graph in _of(content, _MODEL_GRAPH):
        for tensor in _of(graph, _GRAPH_INITIALIZER):
            fields = list(_fields(tensor))
            blocks = {number: value for number, value in fields if not isinstance(value, int)}
            (kind,) = (value for number, value in fields if number == _TENSOR_TYPE)
            if kind in _TYPES and _TENSOR_DATA in blocks:
                shape = [
                    value for number, value in fields if number == _TENSOR_DIMS and isinstance(value, int)
                ]
                values = np.frombuffer(blocks[_TENSOR_DATA], _TYPES[int(kind)]).reshape(shape)
                weights[bytes(blocks[_TENSOR_NAME]).decode()] = values.astype(np.float32)
    return weights


def _of(message: bytes | memoryview, wanted: int) -> list[memoryview]:
    return [value for number, value in _blocks(message) if number == wanted]


def _blocks(message: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of the fields of variable length."""
    return ((number, value) for number, value in _fields(message) if not isinstance(value, int))


def _fields(message: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of the fields of a message: whole numbers, and the content of those of variable length."""
    view, position = memoryview(message), 0
    while position < len(view):
        tag, position = _varint(view, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(view, position)
            yield tag >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError('no protocol buffer')
        length, position = _varint(view, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
        if position + length > len(view):
            raise ValueError('cut off')
        if kind == 2:
            yield tag >> 3, view[position : position + length]
        position += length


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """A number, seven bits a byte from the lowest on, and the position after it."""
    value = shift = 0
    while position < len(view):
        byte = view[position]
        value |= (byte & 0x7F) << shift
        shift, position = shift + 7, position + 1
        if byte < 0x80:
            return value, position
    raise ValueError('cut off')
