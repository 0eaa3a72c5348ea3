"""The models that a detector runs: a checkpoint in PyTorch, or an exported model with or without PyTorch."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading

__all__ = ['ChangeModel', 'check_runtime', 'open_checkpoint', 'open_exported', 'refuse_options']


class ChangeModel(Protocol):
    """The part of a model that a detector uses.

    Attributes:
        name: Names of its files.
        tile_size: The only height and width that it takes, None for any.
        crop_size: Height and width of its training crops, None where unknown.
        ground_resolution: Smallest and largest ground resolution that it is for, in metres; None where unknown.
        slides: Whether it slides a window over images itself.
        reading: How its training images were read.
    """

    name: str
    threshold: float
    threshold_source: str
    versions: dict[str, str]
    reading: Reading
    device: str
    tile_size: int | None
    crop_size: int | None
    ground_resolution: tuple[float, float] | None
    slides: bool

    def probs(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of change (N, H, W) of two batches (N, H, W, bands) of 8 bits, three bands in BGR."""

    def whole(self) -> 'ChangeModel':
        """The same model, which slides no window over images itself."""


def open_checkpoint(
    config: str | Path,
    checkpoint: str | Path,
    device: str = 'cpu',
    cfg_options: Mapping[str, Any] | None = None,
    precision: str = 'auto',
    whole: bool = False,
) -> ChangeModel:
    """Load a checkpoint, see :meth:`hsonet_mm.ChangeDetector.from_checkpoint`; `whole` ignores the config's window."""
    _require_torch(f'the checkpoint {checkpoint}', 'give an .onnx file')
    from hsonet_mm import components  # noqa: F401
    from hsonet_mm.inference.torch_model import TorchModel

    return TorchModel(config, checkpoint, device, cfg_options, whole, precision)


def open_exported(
    path: str | Path,
    runtime: str = 'onnxruntime',
    device: str = 'cpu',
    threads: int | None = None,
    precision: str = 'auto',
    whole: bool = False,
) -> ChangeModel:
    """Load an exported model, see :meth:`hsonet_mm.ChangeDetector.from_onnx`; `whole` ignores the config's window."""
    if runtime == 'pytorch':
        _require_torch(f'{path} in PyTorch', 'leave out the runtime')
        from hsonet_mm import components  # noqa: F401
        from hsonet_mm.inference.torch_model import TorchModel

        return TorchModel(None, path, device, None, whole, precision)
    from hsonet_mm.inference.onnx_model import OnnxModel

    return OnnxModel(path, threads, runtime=runtime, device=device, precision=precision)


def _require_torch(what: str, otherwise: str) -> None:
    if find_spec('torch') is None:
        raise UserError(
            f'{what} needs PyTorch and the OpenMMLab packages: install them with '
            f'`pip install "hsonet_mm[standalone]"`, or {otherwise}'
        )


def check_runtime(runtime: str | None, checkpoint: str | Path) -> None:
    """Check that a checkpoint is to run in PyTorch."""
    if runtime not in (None, 'pytorch'):
        raise UserError(
            f'--runtime {runtime} requires an exported model: export {checkpoint} with `hsonet export` '
            'and give the .onnx file'
        )


def refuse_options(path: str | Path, options: Mapping[str, Any]) -> None:
    """Refuse options that an exported model ignores, unless their value is None or ``'auto'``."""
    for option, value in options.items():
        if value not in (None, 'auto'):
            raise UserError(f'{option} does not apply to the exported model {path}: leave it out')
