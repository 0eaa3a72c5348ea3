"""A change detector for images: from a checkpoint in PyTorch, or from an exported model without PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.inference.calibration import (
    Calibration,
    apply_temperature,
    check_threshold,
    read_calibration,
    sidecar_of,
)
from hsonet_mm.memory import keep_memory

__all__ = ['ChangeDetector', 'Prediction', 'check_runtime', 'open_detector', 'refuse_options']

Image = NDArray[np.uint8] | str | Path
"""An image, (H, W, 3) BGR of 8 bits, or the path of its file."""


@dataclass(frozen=True)
class Prediction:
    """What a model says about one pair.

    Attributes:
        probs: Probability of change, (H, W) float32 in [0, 1].
        mask: Where it is above the threshold, (H, W) bool.
        threshold: The threshold used.
    """

    probs: NDArray[np.float32]
    mask: NDArray[np.bool_]
    threshold: float


class ChangeModel(Protocol):
    """What a detector needs: names, a threshold of its own, and probabilities of batches."""

    name: str
    threshold: float
    threshold_source: str
    versions: dict[str, str]

    def probs(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Two batches of (N, H, W, 3), 8 bits BGR, to (N, H, W)."""


class ChangeDetector:
    """Detects changes between two images.

    Images go in at their own resolution: their ground sampling distance should be that of the training. A
    detector keeps nothing between calls and shares nothing with another one::

        detector = ChangeDetector.from_checkpoint('configs/hsonet_lite_levir.py', 'best.pth')
        detector = ChangeDetector.from_onnx('model.onnx')  # the same without PyTorch
        prediction = detector.predict('before.png', 'after.png')
        prediction.mask, prediction.probs, prediction.threshold

    Args:
        model: What computes; use :meth:`from_checkpoint` or :meth:`from_onnx`.
        threshold: Calibrated probability in (0, 1) above which a pixel is changed; by default that of the calibration,
            else the model's own.
        calibration: Temperature and threshold learnt on validation.
        calibration_name: What to call the calibration.

    Attributes:
        threshold: The threshold in use.
        threshold_source: Where it comes from, in words.
        name: Names of the model's files.
        versions: Versions of what computes.

    Raises:
        UserError: for a threshold outside (0, 1).
    """

    def __init__(
        self,
        model: ChangeModel,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        calibration_name: str = 'calibration',
    ) -> None:
        check_threshold(threshold)
        self.model = model
        self.name = model.name
        self.versions = model.versions
        self.threshold, self.threshold_source = model.threshold, model.threshold_source
        if calibration is not None:
            self.threshold, self.threshold_source = calibration.threshold, f'calibrated ({calibration_name})'
        if threshold is not None:
            self.threshold, self.threshold_source = threshold, 'given'
        self.temperature = 1.0 if calibration is None else calibration.temperature

    @classmethod
    def from_checkpoint(
        cls,
        config: str | Path,
        checkpoint: str | Path,
        *,
        device: str = 'cpu',
        threshold: float | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        window: tuple[int, int] | str | None = None,
        precision: str = 'auto',
    ) -> 'ChangeDetector':
        """Load a trained model, and the calibration that lies beside its checkpoint.

        Args:
            config: Path of the config file that the model was trained with.
            checkpoint: Path of the checkpoint.
            device: Where to compute, ``'cpu'``, ``'cuda'``, ``'cuda:1'``.
            threshold: Probability in (0, 1) above which a pixel is changed.
            cfg_options: Values that replace those of the config, as ``{'model.test_cfg.mode': 'whole'}``.
            window: ``'whole'`` to predict images at once, ``(crop, stride)`` in pixels to slide a window over them,
                None to do as the config says. The scene embedding of HSONet depends on the window: take the size of
                the training crops.
            precision: ``'fp32'``, ``'bf16'``, or ``'auto'`` for bfloat16 on CPUs that multiply it and float32
                elsewhere.

        Raises:
            UserError: if one of these or the calibration is wrong, or PyTorch is missing.
        """
        check_threshold(threshold)
        if find_spec('torch') is None:
            raise UserError(
                f'the checkpoint {checkpoint} needs PyTorch and the OpenMMLab packages: install them with '
                '`pip install "hsonet_mm[standalone]"`, or give an .onnx file'
            )
        from hsonet_mm import components  # noqa: F401
        from hsonet_mm.inference.torch_model import TorchModel

        model = TorchModel(config, checkpoint, device, cfg_options, window, precision)
        return cls(model, threshold, read_calibration(checkpoint), sidecar_of(checkpoint).name)

    @classmethod
    def from_onnx(
        cls,
        path: str | Path,
        *,
        threshold: float | None = None,
        threads: int | None = None,
        runtime: str = 'onnxruntime',
        device: str = 'cpu',
    ) -> 'ChangeDetector':
        """Load a model that ``hsonet export`` wrote, and the calibration that lies beside it; needs no PyTorch.

        Args:
            path: The ``.onnx`` file. A calibration of its checkpoint is in it already.
            threshold: Probability in (0, 1) above which a pixel is changed.
            threads: Threads of one prediction on a CPU; by default one for each core.
            runtime: What runs it, ``'onnxruntime'`` or ``'openvino'``.
            device: ``'cpu'``; in ONNX Runtime also ``'cuda'``, ``'tensorrt'`` and, by number, ``'cuda:1'`` ...

        Raises:
            UserError: if one of these or the calibration is wrong, or the runtime or the device is missing.
        """
        from hsonet_mm.inference.onnx_model import OnnxModel

        check_threshold(threshold)
        model = OnnxModel(path, threads, runtime=runtime, device=device)
        return cls(model, threshold, read_calibration(path), sidecar_of(path).name)

    def probs(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated probability of change of a batch of pairs.

        Args:
            t1: Images of the first date, BGR, 8 bits.
            t2: Images of the second date.

        Shapes:
            ``t1`` and ``t2``: (N, H, W, 3), any H and W. Returns (N, H, W) in [0, 1].

        Raises:
            UserError: if type or sizes do not fit, the memory of a GPU does not suffice, or the model
                predicts NaN.
        """
        for images in (t1, t2):
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
                raise UserError(
                    f'images are arrays (height, width, 3) of uint8 in the order blue, green, red, '
                    f'not {images.shape[1:]} of {images.dtype}: convert them'
                )
        if t1.shape != t2.shape:
            sizes = [f'{images.shape[2]} x {images.shape[1]}' for images in (t1, t2)]
            raise UserError(
                f'the images are {" and ".join(sizes)} pixels: cut them to the same area and size'
            )
        if not t1.size:
            raise UserError('the images have no pixels: give some of at least 1 x 1')
        probs = self.model.probs(t1, t2)
        if not np.isfinite(probs).all():
            raise UserError('the model predicts NaN, so its training diverged: take an earlier checkpoint')
        return apply_temperature(probs, self.temperature)

    @overload
    def predict(self, a: Image, b: Image) -> Prediction: ...

    @overload
    def predict(self, a: list[Any], b: list[Any]) -> list[Prediction]: ...

    def predict(self, a: Any, b: Any) -> Prediction | list[Prediction]:
        """Predict one pair or several.

        Args:
            a: Image of the first date: an array (H, W, 3) of 8 bits in BGR, or a path; or a list of them.
            b: The same of the second date.

        Returns:
            One prediction, or a list of them for lists, whose pairs may differ in size.

        Raises:
            UserError: for lists of different lengths, files that cannot be read, and as :meth:`probs`.
        """
        if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):
            if not isinstance(a, (list, tuple)) or not isinstance(b, (list, tuple)) or len(a) != len(b):
                raise UserError('the two dates are not lists of the same length: give each image its partner')
            return [self.predict(t1, t2) for t1, t2 in zip(a, b, strict=True)]
        probs = self.probs(_read(a)[None], _read(b)[None])[0]
        return Prediction(probs, probs > np.float32(self.threshold), self.threshold)


def open_detector(
    files: Sequence[str | Path],
    *,
    device: str | None = None,
    threshold: float | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    window: tuple[int, int] | str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    runtime: str | None = None,
) -> ChangeDetector:
    """Open what a command line names: a config and a checkpoint, or one exported model.

    Args:
        files: ``[config, checkpoint]`` or ``[model.onnx]``.
        device: As in :meth:`ChangeDetector.from_checkpoint`; the following too.
        threshold: Probability above which a pixel is changed.
        cfg_options: Values that replace those of the config.
        window: Whole images or a sliding window.
        threads: Threads of an exported model.
        precision: Of a checkpoint in PyTorch.
        runtime: ``'pytorch'`` for a checkpoint, ``'onnxruntime'`` or ``'openvino'`` for an exported model.

    Raises:
        UserError: if the files are something else, or an exported model is given what only a checkpoint takes.
    """
    if len(files) == 1 and Path(files[0]).suffix == '.onnx':
        slide = '--mode, --crop and --stride'
        refuse_options(files[0], {'--cfg-options': cfg_options, slide: window, '--precision': precision})
        return ChangeDetector.from_onnx(
            files[0],
            threshold=threshold,
            threads=threads,
            runtime=runtime or 'onnxruntime',
            device=device or 'cpu',
        )
    if len(files) != 2:
        given = ' '.join(map(str, files)) or 'nothing'
        raise UserError(f'{given} is no model: give a config and a checkpoint, or one .onnx file')
    check_runtime(runtime, files[1])
    keep_memory()
    return ChangeDetector.from_checkpoint(
        *files,
        device=device or 'cpu',
        threshold=threshold,
        cfg_options=cfg_options,
        window=window,
        precision=precision or 'auto',
    )


def check_runtime(runtime: str | None, checkpoint: str | Path) -> None:
    """Refuse to run a checkpoint in anything but PyTorch.

    Raises:
        UserError: for another runtime.
    """
    if runtime not in (None, 'pytorch'):
        raise UserError(
            f'--runtime {runtime} is for exported models: give the .onnx file that `hsonet export` makes of '
            f'{checkpoint}'
        )


def refuse_options(path: str | Path, options: Mapping[str, Any]) -> None:
    """Refuse the options that an exported model does not follow.

    Args:
        path: Its file.
        options: Values by option, as a user types it.

    Raises:
        UserError: for a value that is not what an exported model does anyway.
    """
    for option, value in options.items():
        if value not in (None, 'auto', 'whole'):
            raise UserError(f'{path} runs as it was exported: leave out {option}')


def _read(image: Image) -> NDArray[np.uint8]:
    """The array, or the content of the file."""
    if not isinstance(image, (str, Path)):
        return np.asarray(image)
    from hsonet_mm.images import read_image

    return read_image(str(image))
