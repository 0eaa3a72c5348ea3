"""The export pipeline: trace, translate, compare with PyTorch, quantise, write."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.datasets.labelled_pairs import LabelledPairs
from hsonet_mm.errors import UserError
from hsonet_mm.export.formats import ProgramModel, to_onnx, to_program, with_metadata
from hsonet_mm.export.graph import PairToProbs, trace
from hsonet_mm.export.half import PairAndWeights, round_weights, weights_of
from hsonet_mm.export.opset import NEWEST, OLDEST
from hsonet_mm.export.quantize import cut, quantize, score
from hsonet_mm.exported.metadata import Metadata
from hsonet_mm.files import write_bytes
from hsonet_mm.images import Reading
from hsonet_mm.inference.onnx_model import OnnxModel
from hsonet_mm.inference.opening import open_detector
from hsonet_mm.logits import check_threshold
from hsonet_mm.windows import default_window

__all__ = ['SIZES', 'TOLERANCE', 'export']

SIZES = ((1, 64, 64), (3, 70, 100), (2, 33, 250))
"""Batches, heights and widths at which an exported model is compared with PyTorch."""
TOLERANCE = 1e-4
"""Largest difference of a probability that is accepted."""
MOST_LOST = 0.003
"""Largest loss of F1 by quantisation that is accepted."""
CALIBRATION_PAIRS = 24
"""About as many pairs, evenly spread over the validation split, calibrate. [choice]"""
SUFFIXES = ('.onnx', '.pt2')
"""Of ONNX, and of a program of ``torch.export``."""

Images = NDArray[np.uint8]
Probs = Callable[[Images, Images], NDArray[np.float32]]


def export(
    config: str | Path,
    checkpoint: str | Path | None,
    target: Path,
    *,
    tile_size: int | None = None,
    opset: int | None = None,
    threshold: float | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    int8: bool = False,
    calibration_data: str | None = None,
    reading: Reading | None = None,
    fp16: bool = False,
    ground_resolution: tuple[float, float] | None = None,
    licence: str | None = None,
    most_bytes: int | None = None,
) -> tuple[Metadata, float]:
    """Export a trained model with its metadata, after comparing it with PyTorch.

    Args:
        config: Config that the model was trained with. Its test mode does not count: the exported model sees the
            tiles it is given as a whole. Without a checkpoint: the name of a model that comes with the package, or one
            that was exported with ``fp16``.
        checkpoint: Its checkpoint; temperature and threshold of a calibration beside it go into the file.
        target: File to write, in one step; one that is there is replaced. Its suffix, ``.onnx`` or ``.pt2``, decides
            the format.
        tile_size: Height and width that the model is to take; any by default.
        opset: Version of ONNX's operators; the newest by default.
        threshold: Threshold to name in the file.
        cfg_options: Values that replace those of the config.
        int8: Whether to quantise the model to 8 bits.
        calibration_data: Folder of the data set whose validation split calibrates it; by default the config's.
        reading: How the exported model is to read files; what it does not declare is as in training.
        fp16: Whether to store kernels in half precision, see :mod:`hsonet_mm.export.half`.
        ground_resolution: Smallest and largest size of a pixel on the ground that the model is for, in metres.
        licence: Terms of the weights, in words; None takes over those of an exported model.
        most_bytes: Largest file that may be written.

    Returns:
        What the file says about itself, and the largest difference of a probability from PyTorch, which with ``fp16``
        has rounded weights too.

    Raises:
        UserError: for wrong arguments, a model that cannot be traced, comes out differently or loses more than
            :data:`MOST_LOST` of F1 by quantisation, or a target that cannot be written. The target is then as it was.
    """
    if target.suffix not in SUFFIXES:
        raise UserError(f"invalid output '{target}': expected a name that ends in {' or '.join(SUFFIXES)}")
    as_onnx = target.suffix == '.onnx'
    if int8 and not as_onnx:
        raise UserError(f'--int8 requires ONNX: give {target} a name that ends in .onnx')
    if fp16 and (int8 or not as_onnx):
        raise UserError(
            f'--fp16 requires ONNX and excludes --int8: leave one out, and give {target} a name that ends '
            'in .onnx'
        )
    if ground_resolution is not None and not 0 < ground_resolution[0] <= ground_resolution[1]:
        low, high = ground_resolution
        raise UserError(
            f'invalid --ground-resolution {low:g} {high:g}: expected two sizes in metres, the smaller first'
        )
    check_threshold(threshold)
    if tile_size is not None and tile_size < 1:
        raise UserError(f'invalid --tile {tile_size}: expected 1 or more, such as 512')
    default_window(tile_size, None)  # refuses tiles too small to be windows
    if opset is not None and not as_onnx:
        raise UserError(
            f'--opset {opset} requires ONNX: leave it out, or give {target} a name that ends in .onnx'
        )
    if opset is not None and not OLDEST <= opset <= NEWEST:
        raise UserError(f'invalid --opset {opset}: expected {OLDEST} to {NEWEST}')
    files = [config] if checkpoint is None else [config, checkpoint]
    detector = open_detector(
        files,
        threshold=threshold,
        cfg_options=cfg_options,
        window='whole',
        precision='fp32',
        runtime='pytorch',
        reading=reading,
    )
    model: Any = detector.model
    if fp16:
        round_weights(model.network)
    temperature = detector.temperature * model.temperature
    network = {
        'default_scope': model.config.get('default_scope', 'opencd'),
        'model': model.config.model.to_dict(),
    }
    pairs = LabelledPairs(model.config, calibration_data) if int8 else None  # before the work
    metadata = Metadata(
        name=detector.name,
        threshold=detector.threshold,
        threshold_source='given on export' if threshold is not None else detector.threshold_source,
        temperature=temperature,
        tile_size=tile_size,
        crop_size=model.crop_size,
        versions={name: text for name, text in detector.versions.items() if name != 'precision'},
        reading=detector.reading.to_dict(),
        ground_resolution=ground_resolution or model.ground_resolution,
        network=network if fp16 else None,
        licence=licence or model.licence,
    )
    module = PairToProbs(model.network, temperature).eval()
    weights = weights_of(model.network) if fp16 else None
    try:
        program = trace(module if weights is None else PairAndWeights(module), tile_size, weights)
        content = (
            to_onnx(program, metadata, opset or NEWEST, weights) if as_onnx else to_program(program, metadata)
        )
    except UserError:
        raise
    except Exception as error:  # the tracer and the translator raise many things, over many lines
        raise UserError(
            f'the model of {config} cannot be exported ({_reason(error)}): try --tile or another --opset, '
            'or change the named part'
        ) from error
    try:
        exported: Probs = (OnnxModel(target, content=content) if as_onnx else ProgramModel(content)).probs
        ours = partial(detector.probs, channel_order='bgr')
        difference = largest_difference(ours, exported, tile_size, detector.reading.channels)
    except UserError:
        raise
    except Exception as error:  # each runtime has its own
        raise UserError(
            f'the exported model of {config} does not run ({_reason(error)}), so {target} is not written: '
            'try --tile or another --opset'
        ) from error
    if not difference <= TOLERANCE:
        raise UserError(
            f'the exported model differs from PyTorch by {difference:.1e} (limit {TOLERANCE:.0e}), so '
            f'{target} is not written: please report the config {config}'
        )
    if pairs is not None:
        content, metadata = _in_int8(content, metadata, pairs, target)
    if most_bytes is not None and len(content) > most_bytes:
        raise UserError(
            f'the model of {config} takes {len(content):,} bytes (limit {most_bytes:,}): use a smaller '
            'network'
        )
    write_bytes(target, content)
    return metadata, difference


def _in_int8(
    content: bytes, metadata: Metadata, pairs: LabelledPairs, target: Path
) -> tuple[bytes, Metadata]:
    """The model in 8 bits, and its metadata."""
    chosen = range(0, len(pairs), max(1, len(pairs) // CALIBRATION_PAIRS))
    quantised = quantize(content, cut((pairs[index] for index in chosen), metadata.tile_size))
    f1_float, f1 = (
        score(OnnxModel(target, content=one).probs, cut(pairs, metadata.tile_size), metadata.threshold).f1
        for one in (content, quantised)
    )
    if not f1_float:
        raise UserError(
            'the model detects no changed pixel in the validation pairs, so the loss of accuracy in int8 '
            'cannot be measured: give other pairs with --calibration-data, or a trained checkpoint'
        )
    if f1_float - f1 > MOST_LOST:
        raise UserError(
            f'in int8, F1 on {len(pairs)} validation pairs falls from {f1_float:.4f} to {f1:.4f} (limit '
            f'{MOST_LOST}), so {target} is not written: export without --int8'
        )
    metadata = replace(metadata, int8={'pairs': len(pairs), 'f1_float': f1_float, 'f1': f1})
    return with_metadata(quantised, metadata), metadata


def _reason(error: BaseException) -> str:
    """The first line of the underlying error, without memory addresses."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r'<(\S+) object at 0x[0-9a-f]+>', r'\1', first)[:300]


def largest_difference(expected: Probs, exported: Probs, tile_size: int | None, bands: int = 3) -> float:
    """Largest difference between two models at three sizes (for a fixed size: three batches)."""
    differences = []
    for seed, (batch, height, width) in enumerate(SIZES):
        shape = (batch, height, width) if tile_size is None else (batch, tile_size, tile_size)
        t1, t2 = _images(2 * seed, *shape, bands), _images(2 * seed + 1, *shape, bands)
        differences.append(float(abs(expected(t1, t2) - exported(t1, t2)).max()))
    return float(np.max(differences))  # NaN stays NaN


def _images(seed: int, batch: int, height: int, width: int, bands: int) -> Images:
    """Blocks of colour with noise over them, (N, H, W, bands)."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 200, (batch, height // 8 + 1, width // 8 + 1, bands), dtype=np.uint8)
    coarse = blocks.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    return coarse + rng.integers(0, 56, coarse.shape, dtype=np.uint8)
