"""Exported models in 8 bits: static quantisation of all operators, with onnxruntime's own tools."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsonet_mm.evaluation.confusion import Confusion, confusion
from hsonet_mm.export.formats import quiet
from hsonet_mm.exported.metadata import INPUT
from hsonet_mm.labels import IGNORED

__all__ = ['cut', 'quantize', 'score']

SIDE = 512
"""Rows and columns of the largest piece of an image that is predicted at once."""

Images = NDArray[np.uint8]
Pair = tuple[Images, Images, Images]
"""Both dates (H, W, 3) BGR and the label (H, W)."""


def quantize(content: bytes, pieces: Iterable[Pair]) -> bytes:
    """Quantise a model to 8 bits: weights per output channel, activations by their ranges on images.

    Every operator is quantised, as ``QuantizeLinear`` and ``DequantizeLinear`` around it (QDQ), which runtimes fuse
    into integer kernels: with float operators in between, converting costs more than is gained. The pieces of images
    show what maps look like.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._pieces = iter(pieces)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            piece = next(self._pieces, None)
            if piece is None:
                return None
            pair = np.concatenate([image[..., ::-1] for image in piece[:2]], axis=2)
            return {INPUT: pair.transpose(2, 0, 1)[None].astype(np.float32)}

    with tempfile.TemporaryDirectory() as folder, quiet():
        source, prepared, target = (
            Path(folder) / f'{name}.onnx' for name in ('source', 'prepared', 'target')
        )
        source.write_bytes(content)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)  # folds batch norms into convolutions
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        model, original = onnx.load(target), onnx.load_from_string(content)
    model.producer_name, model.producer_version = original.producer_name, original.producer_version
    onnx.helper.set_model_props(model, {prop.key: prop.value for prop in original.metadata_props})
    model.graph.ClearField('value_info')
    return model.SerializeToString()


def cut(pairs: Iterable[Pair], tile_size: int | None) -> Iterator[Pair]:
    """Cut pairs into non-overlapping pieces of a size that the model accepts.

    They are padded to the size that the model takes, if it takes only one.
    """
    side = tile_size or SIDE
    for pair in pairs:
        height, width = pair[2].shape
        for top in range(0, height, side):
            for left in range(0, width, side):
                piece: Any = tuple(image[top : top + side, left : left + side] for image in pair)
                yield piece if tile_size is None else _pad(piece, side)


def _pad(piece: Pair, side: int) -> Pair:
    rows, columns = (side - length for length in piece[2].shape)
    around = ((0, rows), (0, columns))
    t1, t2 = (np.pad(image, (*around, (0, 0)), mode='edge') for image in piece[:2])
    return t1, t2, np.pad(piece[2], around, constant_values=IGNORED)


def score(
    probs: Callable[[Images, Images], NDArray[np.float32]], pieces: Iterable[Pair], threshold: float
) -> Confusion:
    """Compare the predictions of a model with the labels."""
    total = Confusion()
    for t1, t2, target in pieces:
        changed = probs(t1[None], t2[None])[0] > np.float32(threshold)
        total += confusion(torch.from_numpy(changed), torch.from_numpy(target))
    return total
