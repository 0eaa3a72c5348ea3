"""A change detector for images: from a checkpoint in PyTorch, or from an exported model without PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, overload

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.images import (
    ImagePair,
    Pixels,
    Reading,
    check_nodata,
    check_overlap,
    join,
    pair_of,
    read_pixels,
    size,
)
from hsonet_mm.inference.batches import batch_probs, check_images, checked_batch
from hsonet_mm.inference.calibration import Calibration, apply_temperature, read_calibration
from hsonet_mm.inference.models import ChangeModel, open_checkpoint, open_exported
from hsonet_mm.inference.resolution import Resampling, check_resample, pair_resampling
from hsonet_mm.inference.tta import augmented_probs, check_tta
from hsonet_mm.inference.window_choice import WindowChoice, chosen_window, window_slides
from hsonet_mm.logits import check_threshold
from hsonet_mm.pretrained import DEFAULT, default_runtime, model_path

if TYPE_CHECKING:
    from torch import device as Device
    from typing_extensions import Unpack

__all__ = ['ChangeDetector', 'DetectorOptions', 'Prediction']

Image = NDArray[np.uint8] | str | Path
"""An image, (H, W, bands) of 8 bits, or the path of its file."""


class DetectorOptions(TypedDict, total=False):
    """Options of every detector, see :class:`ChangeDetector`."""

    threshold: float | None
    window: WindowChoice
    reading: Reading | None
    resample: float | str | None
    tta: Sequence[str]


@dataclass(frozen=True)
class Prediction:
    """The changes of one pair.

    Attributes:
        probs: Probability of change, (H, W) float32 in [0, 1].
        mask: Where it is above the threshold, (H, W) bool.
        threshold: The threshold used.
        valid: Where both images have data, (H, W) bool; elsewhere ``probs`` and ``mask`` are 0. A pixel of a masked
            array has no data if all of its bands are masked.
    """

    probs: NDArray[np.float32]
    mask: NDArray[np.bool_]
    threshold: float
    valid: NDArray[np.bool_]


class ChangeDetector:
    """Detects changes between two images.

    Images should have the ground resolution of the training; ``resample`` brings georeferenced files there. A detector
    keeps no state between calls and shares none with other detectors; threads may share it, and where it is pickled,
    as for worker processes, its files are opened again::

        detector = ChangeDetector.from_checkpoint('configs/hsonet_lite_levir.py', 'best.pth')
        detector = ChangeDetector.from_onnx('model.onnx')  # the same without PyTorch
        prediction = detector.predict('before.png', 'after.png')

    Args:
        model: The model; use :meth:`pretrained`, :meth:`from_checkpoint` or :meth:`from_onnx` to load one.
        threshold: Calibrated probability in (0, 1) above which a pixel is changed; by default that of the calibration,
            else the model's own.
        calibration: Temperature and threshold fitted on validation.
        reading: How to read files, as ``Reading.make(bands='3,2,1', stretch='0,3000', nodata=0)``; by default, and
            where it declares nothing, as in training.
        window: ``'whole'`` to predict images at once; ``'slide'`` to slide a window over them, or ``(crop, stride)`` in
            pixels, each None for the default: the size of the training crops, overlapping by a quarter, or the
            only size that an exported model takes. None slides over images of more than 2 megapixels, of another size
            than the model's only one, and where ``model.test_cfg`` of the config says so.
        resample: Ground resolution in metres to which georeferenced files are resampled, and their probabilities back;
            ``'model'`` for the nearest that the model is for. None resamples nothing. Arrays are never resampled.
        tta: Test-time augmentation: average over views by ``'flips'``, ``'rotations'`` and ``'swap'`` (of the dates);
            4 views by flips or rotations, 8 by both, and twice as many with swap.

    Attributes:
        window: The window, where one slides.
        threshold: The threshold in use.
        threshold_source: Origin of the threshold, in words.
        name: Names of the model's files.
        versions: Versions of the software that runs the model.
        reading: How files are read.
        notes: A sentence for each way in which that differs from the training.
        ground_resolution: Smallest and largest ground resolution that the model is for, in metres; None where unknown.

    Raises:
        UserError: for a threshold outside (0, 1), a wrong number of bands, or an invalid window or augmentation.

    Example:
        >>> import numpy as np
        >>> detector = ChangeDetector.pretrained(threads=1)  # the model that comes with the package
        >>> before = np.full((64, 64, 3), 90, np.uint8)
        >>> prediction = detector.predict(before, before, channel_order='rgb')  # arrays of Pillow or rasterio
        >>> prediction.probs.shape, bool(prediction.mask.any())
        ((64, 64), False)
    """

    def __init__(
        self,
        model: ChangeModel,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        reading: Reading | None = None,
        window: WindowChoice = None,
        resample: float | str | None = None,
        tta: Sequence[str] = (),
    ) -> None:
        check_threshold(threshold)
        check_resample(resample)
        self.tta = check_tta(tta)
        if not isinstance(reading, Reading | None):
            raise UserError(f'invalid reading {reading!r}: expected hsonet_mm.images.Reading.make(...)')
        self.model = model
        self._opening: Callable[..., ChangeDetector] | None = None
        self.resample = resample
        self.ground_resolution = model.ground_resolution
        self.window = chosen_window(model, window)
        self._choice = window
        self.name = model.name
        self.versions = model.versions
        self.threshold, self.threshold_source = model.threshold, model.threshold_source
        if calibration is not None:
            self.threshold, self.threshold_source = calibration.threshold, f'calibrated ({calibration.name})'
        if threshold is not None:
            self.threshold, self.threshold_source = threshold, 'given'
        self.temperature = 1.0 if calibration is None else calibration.temperature
        self.reading, self.notes = (reading or Reading()).for_model(model.name, model.reading)

    @classmethod
    def pretrained(
        cls,
        name: str = DEFAULT,
        *,
        runtime: str | None = None,
        device: 'str | Device' = 'cpu',
        threads: int | None = None,
        precision: str = 'auto',
        **options: 'Unpack[DetectorOptions]',
    ) -> 'ChangeDetector':
        """Load a model that comes with the package; ``hsonet models`` lists them and prints their cards.

        Args:
            name: Its name.
            runtime: ``'pytorch'``, ``'onnxruntime'`` or ``'openvino'``; by default ONNX Runtime on a CPU where it is
                installed, PyTorch on GPUs and for a `precision`.
            device: As in :meth:`from_onnx`, like all that follows.
            threads: As there.
            precision: As there.
            options: As there.

        Raises:
            UserError: for an unknown name, and as :meth:`from_onnx`.
        """
        runtime = runtime or default_runtime(str(device), precision)
        return cls.from_onnx(
            model_path(name), runtime=runtime, device=device, threads=threads, precision=precision, **options
        )

    @classmethod
    def from_checkpoint(
        cls,
        config: str | Path,
        checkpoint: str | Path,
        *,
        device: 'str | Device' = 'cpu',
        cfg_options: Mapping[str, Any] | None = None,
        precision: str = 'auto',
        **options: 'Unpack[DetectorOptions]',
    ) -> 'ChangeDetector':
        """Load a trained model, and the calibration beside its checkpoint.

        Args:
            config: Path of the config file that the model was trained with.
            checkpoint: Path of the checkpoint.
            device: ``'cpu'``, ``'cuda'``, ``'cuda:1'`` ...
            cfg_options: Values that replace those of the config, as ``{'model.test_cfg.mode': 'whole'}``.
            precision: ``'fp32'``, ``'bf16'``, or ``'auto'`` for bfloat16 on CPUs that multiply it and float32
                elsewhere.
            options: ``threshold``, ``window``, ``reading``, ``resample`` and ``tta`` of the class.

        Raises:
            UserError: if a file or an option is wrong, or PyTorch is missing.
        """
        whole = options.get('window') is not None
        model = open_checkpoint(config, checkpoint, str(device), cfg_options, precision, whole)
        detector = cls(model, calibration=read_calibration(checkpoint), **options)
        again: Any = partial(cls.from_checkpoint, Path(config).absolute(), Path(checkpoint).absolute())
        detector._opening = partial(
            again, device=device, cfg_options=cfg_options, precision=precision, **options
        )
        return detector

    @classmethod
    def from_onnx(
        cls,
        path: str | Path,
        *,
        runtime: str = 'onnxruntime',
        device: 'str | Device' = 'cpu',
        threads: int | None = None,
        precision: str = 'auto',
        **options: 'Unpack[DetectorOptions]',
    ) -> 'ChangeDetector':
        """Load a model that ``hsonet export`` wrote, and the calibration beside it; needs no PyTorch.

        Args:
            path: The ``.onnx`` file. It already contains the calibration of its checkpoint.
            runtime: ``'onnxruntime'`` or ``'openvino'``; ``'pytorch'`` for a model exported with ``--fp16``.
            device: ``'cpu'``; in PyTorch and ONNX Runtime also ``'cuda'`` and, by number, ``'cuda:1'`` ..., in ONNX
                Runtime ``'tensorrt'``.
            threads: Threads of one prediction on a CPU; by default ``OMP_NUM_THREADS``, else one for each core that
                this process may use. PyTorch has its own.
            precision: Precision in PyTorch and OpenVINO, as in :meth:`from_checkpoint`.
            options: ``threshold``, ``window``, ``reading``, ``resample`` and ``tta`` of the class.

        Raises:
            UserError: if the file, an option or the calibration is wrong, or the runtime or the device is missing.
        """
        whole = options.get('window') is not None
        model = open_exported(path, runtime, str(device), threads, precision, whole)
        detector = cls(model, calibration=read_calibration(path), **options)
        again: Any = partial(cls.from_onnx, Path(path).absolute(), runtime=runtime)
        detector._opening = partial(again, device=device, threads=threads, precision=precision, **options)
        return detector

    def __reduce__(self) -> Any:
        """Pickle how the detector was opened and its current options, not the network."""
        if self._opening is None:
            return super().__reduce__()
        return self._opening, (), {key: value for key, value in vars(self).items() if key != 'model'}

    def slides(self, height: int, width: int) -> bool:
        """Whether an image of that size is predicted by a sliding window, not as a whole."""
        return window_slides(self.model, self._choice, height, width)

    def whole(self) -> 'ChangeDetector':
        """This detector with the same model, but neither window nor augmentation: one pass for images of any size."""
        detector = copy(self)
        detector._choice, detector.model, detector.tta = 'whole', self.model.whole(), ()
        if self._opening is not None:
            detector._opening = partial(self._opening, window='whole')
        return detector

    def probs(
        self, t1: NDArray[np.uint8], t2: NDArray[np.uint8], *, channel_order: str | None = None
    ) -> NDArray[np.float32]:
        """Calibrated probability of change of a batch of pairs.

        Args:
            t1: Images of the first date, 8 bits.
            t2: Images of the second date.
            channel_order: ``'rgb'``, as Pillow, rasterio and torchgeo return images, or ``'bgr'``, as OpenCV does.
                There is no default, since a wrong order goes unnoticed. Models of another number of bands take them in
                the declared order and need none.

        Shapes:
            ``t1`` and ``t2``: (N, H, W, bands), any H and W. Returns (N, H, W) in [0, 1].

        Raises:
            UserError: for a wrong type, shape or channel order, if the memory of machine or GPU does not suffice, or
                the model predicts NaN.
        """
        t1, t2 = checked_batch(
            np.asanyarray(t1), np.asanyarray(t2), self.model.reading.channels, channel_order
        )
        return augmented_probs(self._probs, t1, t2, self.tta)

    def _probs(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of a checked batch, without augmentation."""
        window = self.window if self.slides(*t1.shape[1:3]) else None
        return apply_temperature(batch_probs(self.model, t1, t2, window), self.temperature)

    @overload
    def predict(self, a: Image, b: Image, *, channel_order: str | None = None) -> Prediction: ...

    @overload
    def predict(
        self, a: list[Any], b: list[Any], *, channel_order: str | None = None
    ) -> list[Prediction]: ...

    def predict(self, a: Any, b: Any, *, channel_order: str | None = None) -> Prediction | list[Prediction]:
        """Predict one pair or several.

        Args:
            a: Image of the first date: an array (H, W, bands) of 8 bits, which may be masked, or a path; or a list of
                them.
            b: The same of the second date.
            channel_order: Order of arrays, as in :meth:`probs`; files need none.

        Returns:
            One prediction, or a list of them for lists, whose pairs may differ in size.

        Raises:
            UserError: for lists of different lengths, unreadable files, and as :meth:`probs`.
        """
        if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):
            if not isinstance(a, (list, tuple)) or not isinstance(b, (list, tuple)) or len(a) != len(b):
                raise UserError(
                    'the two dates are not lists of one length: give an image of each date for every pair'
                )
            return [self.predict(t1, t2, channel_order=channel_order) for t1, t2 in zip(a, b, strict=True)]
        if isinstance(a, (str, Path)) and isinstance(b, (str, Path)):
            dates = self.read(a, b)
            return self.predict_pair(join(*dates, self.reading.stretch), pair_resampling(self, *dates))
        (t1, valid1), (t2, valid2) = (
            self._array(image, date, channel_order) for date, image in enumerate((a, b))
        )
        if t1.shape == t2.shape:  # others are refused below
            pair = pair_of(t1, t2, valid1, valid2)
            t1, t2, valid1 = pair.t1, pair.t2, pair.valid
        return self._prediction(self.probs(t1[None], t2[None], channel_order=channel_order)[0], valid1)

    def _array(
        self, image: Any, date: int, channel_order: str | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """An array, or a file paired with one, in the channel order of the array, and its valid pixels."""
        if isinstance(image, (str, Path)):
            pixels = read_pixels(str(image), self.reading.of_date(date))
            turned = channel_order == 'bgr' and pixels.values.shape[2] == 3
            return pixels.values[..., ::-1] if turned else pixels.values, pixels.valid
        array = np.asarray(image)
        check_images(array, self.model.reading.channels, 3)
        if not np.ma.is_masked(image):
            return array, None
        return array, np.asarray(~np.ma.getmaskarray(image).all(axis=2))

    def read(self, a: str | Path, b: str | Path) -> tuple[Pixels, Pixels]:
        """Read the files of a pair as the model needs them.

        Raises:
            UserError: if one cannot be read or have the declared nodata value, the sizes differ, or they lie apart by
                their georeference.
        """
        t1, t2 = (read_pixels(str(path), self.reading.of_date(date)) for date, path in enumerate((a, b)))
        for date in (t1, t2):
            check_nodata(date.path, self.reading.nodata, date.raster.values.dtype)
        if t1.values.shape != t2.values.shape:
            cure = 'crop both to the same area and size'
            if t1.raster.place is not None and t2.raster.place is not None:
                cure = 'give both to hsonet scene, which resamples them onto one grid'
            raise UserError(
                f'{a} is {size(t1.values)} and {b} is {size(t2.values)} pixels (columns x rows): {cure}'
            )
        check_overlap(t1.raster, t2.raster)
        return t1, t2

    def predict_pair(self, pair: ImagePair, resampling: Resampling | None = None) -> Prediction:
        """Predict a pair that was read; pixels without data in either date are unchanged.

        Args:
            pair: The pair.
            resampling: How to resample it, and the probabilities back.
        """
        images = pair.t1[None], pair.t2[None]
        if resampling is None:
            probs = self.probs(*images, channel_order='rgb')
        else:
            t1, t2 = map(resampling.there, images)
            probs = resampling.back(self.probs(t1, t2, channel_order='rgb'), *pair.t1.shape[:2])
        return self._prediction(probs[0], pair.valid)

    def _prediction(self, probs: NDArray[np.float32], valid: NDArray[np.bool_] | None) -> Prediction:
        if valid is None:
            valid = np.ones(probs.shape, bool)
        else:
            probs = np.where(valid, probs, np.float32(0))
        return Prediction(probs, probs > np.float32(self.threshold), self.threshold, valid)
