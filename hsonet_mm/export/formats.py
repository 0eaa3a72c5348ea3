"""File formats of exported models."""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsonet_mm.errors import UserError
from hsonet_mm.export.half import store_weights
from hsonet_mm.export.opset import NEWEST, lower
from hsonet_mm.exported.metadata import INPUT, OUTPUT, Metadata

__all__ = ['EXTRA_FILE', 'ProgramModel', 'quiet', 'to_onnx', 'to_program', 'with_metadata']

IR_VERSION = 8  # of opset 18
EXTRA_FILE = 'hsonet_mm.json'
"""Where the metadata lie in a ``.pt2`` file."""


def to_onnx(
    program: torch.export.ExportedProgram,
    metadata: Metadata,
    opset: int = NEWEST,
    weights: Mapping[str, Tensor] | None = None,
) -> bytes:
    """Translate a traced model to ONNX, with weights and metadata inside.

    Args:
        program: The traced model.
        metadata: What the file says about itself.
        opset: Version of the operators, 13 to 18; an older one is for older runtimes.
        weights: Inputs of the program after the first, which become constants, see :mod:`hsonet_mm.export.half`.

    Raises:
        UserError: if a package for it is missing, or the older opset lacks an operator.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f'exporting to ONNX needs the package {error.name}: pip install "hsonet_mm[export]"'
        ) from None
    with quiet():
        translated = torch.onnx.export(
            program,
            input_names=[INPUT, *(weights or ())],
            output_names=[OUTPUT],
            opset_version=NEWEST,
            dynamo=True,
            verbose=False,
        )
    assert translated is not None
    model = translated.model_proto
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = 'hsonet_mm', metadata.versions['hsonet_mm']
    _forget_sources(model)
    if weights is not None:
        store_weights(model, weights)
    for value, channels in ((model.graph.input[0], 2 * metadata.channels), (model.graph.output[0], 1)):
        names = ('batch', channels, metadata.tile_size or 'height', metadata.tile_size or 'width')
        shaped = onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, names)
        value.CopyFrom(shaped)
    if opset != NEWEST:
        lower(model, opset)
    onnx.helper.set_model_props(model, metadata.to_props())
    return model.SerializeToString()


def with_metadata(content: bytes, metadata: Metadata) -> bytes:
    """An ONNX file with other metadata."""
    import onnx

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, metadata.to_props())
    return model.SerializeToString()


def _forget_sources(model: Any) -> None:
    """Remove the source locations of traced operators: paths of this machine, half the size of a small model."""
    for graph in (model.graph, *model.functions):
        graph.ClearField('value_info')
        graph.ClearField('metadata_props')
        graph.ClearField('doc_string')
        for node in graph.node:
            node.ClearField('metadata_props')
            node.ClearField('doc_string')
    for tensor in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        tensor.ClearField('metadata_props')


@contextmanager
def quiet() -> Iterator[None]:
    """Silence progress messages and internal warnings of the exporters and their tools."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)


def to_program(program: torch.export.ExportedProgram, metadata: Metadata) -> bytes:
    """Save a traced model as ``torch.export`` does, which PyTorch runs without this package.

    A program of any size takes sides longer than the divisor of the padding: the tracer tells maps of one row or column
    from larger ones.
    """
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={EXTRA_FILE: json.dumps(metadata.to_props())})
    return buffer.getvalue()


class ProgramModel:
    """A model saved by :func:`to_program`."""

    def __init__(self, content: bytes) -> None:
        self._module = torch.export.load(io.BytesIO(content)).module()

    @torch.inference_mode()
    def probs(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of change of a batch, see :meth:`hsonet_mm.ChangeDetector.probs`."""
        if t1.shape[3] == 3:
            t1, t2 = t1[..., ::-1], t2[..., ::-1]
        pair = np.concatenate([t1, t2], axis=3).transpose(0, 3, 1, 2)
        return self._module(torch.from_numpy(np.ascontiguousarray(pair, np.float32)))[:, 0].numpy()
