"""A change detector for images: from a checkpoint in PyTorch, or from an exported model without PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.images import ImagePair, Pixels, Reading, join, read_pixels, size
from hsonet_mm.inference.calibration import (
    Calibration,
    apply_temperature,
    check_threshold,
    read_calibration,
    sidecar_of,
)
from hsonet_mm.memory import keep_memory
from hsonet_mm.memory_errors import out_of_memory
from hsonet_mm.pretrained import DEFAULT, default_runtime, model_path
from hsonet_mm.windows import Window, default_window, slide, with_overlap

if TYPE_CHECKING:
    from hsonet_mm.images.ground import PixelSize
    from hsonet_mm.inference.resolution import Resampling

__all__ = ['ChangeDetector', 'Prediction', 'WindowChoice', 'check_runtime', 'open_detector', 'refuse_options']

WHOLE_PIXELS = 2**21
"""Images of more pixels go through a sliding window unless somebody asks for the whole: 1448 x 1448, well above the
1024 x 1024 of LEVIR-CD. [choice]"""

WindowChoice = tuple[int | None, int | None] | str | None
"""How to go over an image: ``'whole'``; ``'slide'`` or ``(crop, stride)`` in pixels, each None for the model's default;
None to slide over large images only, and as the config says where its ``model.test_cfg`` slides a window."""

Image = NDArray[np.uint8] | str | Path
"""An image, (H, W, bands) of 8 bits, or the path of its file."""

ORDERS = ('rgb', 'bgr')


@dataclass(frozen=True)
class Prediction:
    """What a model says about one pair.

    Attributes:
        probs: Probability of change, (H, W) float32 in [0, 1].
        mask: Where it is above the threshold, (H, W) bool.
        threshold: The threshold used.
        valid: Where both images have data, (H, W) bool; elsewhere ``probs`` and ``mask`` are 0. Arrays have data
            everywhere.
    """

    probs: NDArray[np.float32]
    mask: NDArray[np.bool_]
    threshold: float
    valid: NDArray[np.bool_]


class ChangeModel(Protocol):
    """What a detector needs: names, a threshold of its own, the sizes that suit it, and probabilities of batches.

    Attributes:
        name: Names of its files.
        threshold: Its own threshold.
        threshold_source: Where that comes from, in words.
        versions: Versions of what computes.
        device: Where it computes.
        tile_size: The only height and width that it takes, None for any.
        crop_size: Height and width of its training crops, None where they are unknown.
        ground_resolution: Smallest and largest size of a pixel on the ground that it is for, in metres; None where
            nobody said.
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
        """Two batches of (N, H, W, bands), 8 bits, three bands in BGR, to (N, H, W)."""


class ChangeDetector:
    """Detects changes between two images.

    Images go in at their own resolution, which should be that of the training, unless ``resample`` brings georeferenced
    files there. A detector keeps nothing between calls and shares nothing with another one::

        detector = ChangeDetector.pretrained()  # the model that comes with the package
        detector = ChangeDetector.from_checkpoint('configs/hsonet_lite_levir.py', 'best.pth')
        detector = ChangeDetector.from_onnx('model.onnx')  # the same without PyTorch
        prediction = detector.predict('before.png', 'after.png')
        prediction.mask, prediction.probs, prediction.threshold
        detector.predict(before, after, channel_order='rgb')  # arrays, as Pillow and rasterio give them

    Args:
        model: What computes; use :meth:`pretrained`, :meth:`from_checkpoint` or :meth:`from_onnx`.
        threshold: Calibrated probability in (0, 1) above which a pixel is changed; by default that of the calibration,
            else the model's own.
        calibration: Temperature and threshold learnt on validation.
        calibration_name: What to call the calibration.
        reading: How to read files; what it does not declare is as in training.
        window: Whole images or a sliding window, see :meth:`from_checkpoint`.
        resample: Size of a pixel on the ground, in metres, that georeferenced files are brought to, and their
            probabilities back; ``'model'`` for the nearest that the model is for. None leaves them as they are. Arrays
            say nothing of the ground and stay as they are.

    Attributes:
        window: The window, where one slides: by default of the size of the training crops, or of the only size that an
            exported model takes.
        threshold: The threshold in use.
        threshold_source: Where it comes from, in words.
        name: Names of the model's files.
        versions: Versions of what computes.
        reading: How files are read.
        notes: A sentence for each way in which that is not the training's.
        ground_resolution: Smallest and largest size of a pixel on the ground that the model is for, in metres; None
            where nobody said.

    Raises:
        UserError: for a threshold outside (0, 1), bands that the model does not take, or a window that cannot be.
    """

    def __init__(
        self,
        model: ChangeModel,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        calibration_name: str = 'calibration',
        reading: Reading | None = None,
        window: WindowChoice = None,
        resample: float | str | None = None,
    ) -> None:
        check_threshold(threshold)
        self.model = model
        self.resample = resample
        self.ground_resolution = model.ground_resolution
        self.window = _window(model, window)
        self._choice = window
        self.name = model.name
        self.versions = model.versions
        self.threshold, self.threshold_source = model.threshold, model.threshold_source
        if calibration is not None:
            self.threshold, self.threshold_source = calibration.threshold, f'calibrated ({calibration_name})'
        if threshold is not None:
            self.threshold, self.threshold_source = threshold, 'given'
        self.temperature = 1.0 if calibration is None else calibration.temperature
        self.reading, self.notes = (reading or Reading()).over(model.reading)
        if self.reading.channels != model.reading.channels:
            raise UserError(
                f'{model.name} takes {model.reading.channels} bands a date, not {self.reading.channels}: give as many '
                'numbers to --bands'
            )

    @classmethod
    def pretrained(
        cls,
        name: str = DEFAULT,
        *,
        threshold: float | None = None,
        threads: int | None = None,
        runtime: str | None = None,
        device: str = 'cpu',
        window: WindowChoice = None,
        precision: str = 'auto',
        reading: Reading | None = None,
        resample: float | str | None = None,
    ) -> 'ChangeDetector':
        """Load a model that comes with the package; ``hsonet models`` lists them and prints their cards.

        Args:
            name: Its name.
            threshold: As in :meth:`from_onnx`; the following too.
            threads: Threads of one prediction on a CPU.
            runtime: What runs it: ``'pytorch'``, ``'onnxruntime'`` or ``'openvino'``; by default PyTorch where it is
                installed with the OpenMMLab packages, else ONNX Runtime.
            device: Where to compute.
            window: Whole images or a sliding window.
            precision: In PyTorch.
            reading: How to read files.
            resample: Size of a pixel on the ground that georeferenced files are brought to and back, see the class.

        Raises:
            UserError: if there is no such model, and as :meth:`from_onnx`.
        """
        return cls.from_onnx(
            model_path(name),
            threshold=threshold,
            threads=threads,
            runtime=runtime or default_runtime(),
            device=device,
            window=window,
            precision=precision,
            reading=reading,
            resample=resample,
        )

    @classmethod
    def from_checkpoint(
        cls,
        config: str | Path,
        checkpoint: str | Path,
        *,
        device: str = 'cpu',
        threshold: float | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        window: WindowChoice = None,
        precision: str = 'auto',
        reading: Reading | None = None,
        resample: float | str | None = None,
    ) -> 'ChangeDetector':
        """Load a trained model, and the calibration that lies beside its checkpoint.

        Args:
            config: Path of the config file that the model was trained with.
            checkpoint: Path of the checkpoint.
            device: Where to compute, ``'cpu'``, ``'cuda'``, ``'cuda:1'``.
            threshold: Probability in (0, 1) above which a pixel is changed.
            cfg_options: Values that replace those of the config, as ``{'model.test_cfg.mode': 'whole'}``.
            window: ``'whole'`` to predict images at once; ``'slide'`` to slide a window over them, or ``(crop,
                stride)`` in pixels, each None for the default: the size of the training crops, three quarters of it
                as step. None slides over images of more than 2 megapixels, and does as the config says where its
                ``model.test_cfg`` slides a window.
            precision: ``'fp32'``, ``'bf16'``, or ``'auto'`` for bfloat16 on CPUs that multiply it and float32
                elsewhere.
            reading: How to read files, as ``Reading.make(bands='3,2,1', stretch='0,3000', nodata=0)``; what it does not
                declare is as in training.
            resample: Size of a pixel on the ground that georeferenced files are brought to and back, see the class.

        Raises:
            UserError: if one of these or the calibration is wrong, or PyTorch is missing.
        """
        check_threshold(threshold)
        _require_torch(f'the checkpoint {checkpoint}', 'give an .onnx file')
        from hsonet_mm import components  # noqa: F401
        from hsonet_mm.inference.torch_model import TorchModel

        model = TorchModel(config, checkpoint, device, cfg_options, window is not None, precision)
        name = sidecar_of(checkpoint).name
        return cls(model, threshold, read_calibration(checkpoint), name, reading, window, resample)

    @classmethod
    def from_onnx(
        cls,
        path: str | Path,
        *,
        threshold: float | None = None,
        threads: int | None = None,
        runtime: str = 'onnxruntime',
        device: str = 'cpu',
        window: WindowChoice = None,
        precision: str = 'auto',
        reading: Reading | None = None,
        resample: float | str | None = None,
    ) -> 'ChangeDetector':
        """Load a model that ``hsonet export`` wrote, and the calibration that lies beside it; needs no PyTorch.

        Args:
            path: The ``.onnx`` file. A calibration of its checkpoint is in it already.
            threshold: Probability in (0, 1) above which a pixel is changed.
            threads: Threads of one prediction on a CPU; by default one for each core. PyTorch has its own.
            runtime: What runs it, ``'onnxruntime'`` or ``'openvino'``; of one that was exported with ``--fp16`` also
                ``'pytorch'``.
            device: ``'cpu'``; in PyTorch and ONNX Runtime also ``'cuda'`` and, by number, ``'cuda:1'`` ..., in ONNX
                Runtime ``'tensorrt'``.
            window: As in :meth:`from_checkpoint`. A model that was exported for one size slides wherever an image has
                another, a smaller one too.
            precision: In PyTorch, as in :meth:`from_checkpoint`.
            reading: As in :meth:`from_checkpoint`.
            resample: Size of a pixel on the ground that georeferenced files are brought to and back.

        Raises:
            UserError: if one of these or the calibration is wrong, or the runtime or the device is missing.
        """
        check_threshold(threshold)
        model: ChangeModel
        if runtime == 'pytorch':
            _require_torch(f'{path} in PyTorch', 'leave out the runtime')
            from hsonet_mm import components  # noqa: F401
            from hsonet_mm.inference.torch_model import TorchModel

            model = TorchModel(None, path, device, None, window is not None, precision)
        else:
            from hsonet_mm.inference.onnx_model import OnnxModel

            refuse_options(path, {'--precision': precision})
            model = OnnxModel(path, threads, runtime=runtime, device=device)
        return cls(model, threshold, read_calibration(path), sidecar_of(path).name, reading, window, resample)

    def slides(self, height: int, width: int) -> bool:
        """Whether the window slides over an image of that size, which else is predicted at once."""
        if self._choice is not None:
            return self._choice != 'whole'
        if self.model.tile_size is not None:
            return (height, width) != (self.model.tile_size,) * 2
        return not self.model.slides and height * width > WHOLE_PIXELS

    def probs(
        self, t1: NDArray[np.uint8], t2: NDArray[np.uint8], *, channel_order: str | None = None
    ) -> NDArray[np.float32]:
        """Calibrated probability of change of a batch of pairs.

        Args:
            t1: Images of the first date, 8 bits.
            t2: Images of the second date.
            channel_order: ``'rgb'``, as Pillow, rasterio and torchgeo give images, or ``'bgr'``, as OpenCV does. There
                is no default: a model is wrong in silence where the order is. A model of another number of bands takes
                them in the order in which they were declared, and needs none.

        Shapes:
            ``t1`` and ``t2``: (N, H, W, bands), any H and W. Returns (N, H, W) in [0, 1].

        Raises:
            UserError: without an order, if type or sizes do not fit, the memory of machine or GPU does not suffice, or
                the model predicts NaN.
        """
        bands = self.model.reading.channels
        for images in (t1, t2):
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != bands:
                raise UserError(
                    f'images are arrays (height, width, {bands}) of uint8, not {images.shape[1:]} of {images.dtype}: '
                    'convert them'
                )
        if bands == 3 and channel_order not in ORDERS:
            raise UserError(
                f"the order of the channels is {channel_order!r}: give channel_order='rgb' for arrays of Pillow, "
                "rasterio or torchgeo, 'bgr' for those of OpenCV"
            )
        if t1.shape != t2.shape:
            sizes = [f'{images.shape[2]} x {images.shape[1]}' for images in (t1, t2)]
            raise UserError(
                f'the images are {" and ".join(sizes)} pixels: cut them to the same area and size'
            )
        if not t1.size:
            raise UserError('the images have no pixels: give some of at least 1 x 1')
        if bands == 3 and channel_order == 'rgb':
            t1, t2 = t1[..., ::-1], t2[..., ::-1]
        try:
            if self.slides(*t1.shape[1:3]):
                pairs = zip(t1, t2, strict=True)
                probs = np.stack([slide(self.model.probs, one, two, self.window) for one, two in pairs])
            else:
                probs = self.model.probs(t1, t2)
        except Exception as error:  # each library has its own for it
            if not out_of_memory(error):
                raise
            raise self._too_large(t1.shape) from None
        if not np.isfinite(probs).all():
            raise UserError('the model predicts NaN, so its training diverged: take an earlier checkpoint')
        return apply_temperature(probs, self.temperature)

    def _too_large(self, shape: tuple[int, ...]) -> UserError:
        n, height, width, _ = shape
        if self.slides(height, width):
            how = f'in windows of {self.window.size} x {self.window.size} '
            cure = 'give predict a smaller --crop, or a machine with more memory'
        else:
            how, cure = '', 'give predict --mode slide, scene a smaller --tile or --batch, or smaller images'
        return UserError(
            f'{n} x {width} x {height} pixels {how}do not fit into the memory of {self.model.device}: {cure}'
        )

    @overload
    def predict(self, a: Image, b: Image, *, channel_order: str | None = None) -> Prediction: ...

    @overload
    def predict(
        self, a: list[Any], b: list[Any], *, channel_order: str | None = None
    ) -> list[Prediction]: ...

    def predict(self, a: Any, b: Any, *, channel_order: str | None = None) -> Prediction | list[Prediction]:
        """Predict one pair or several.

        Args:
            a: Image of the first date: an array (H, W, bands) of 8 bits, or a path; or a list of them.
            b: The same of the second date.
            channel_order: Of arrays, as in :meth:`probs`; files need none.

        Returns:
            One prediction, or a list of them for lists, whose pairs may differ in size.

        Raises:
            UserError: for lists of different lengths, files that cannot be read, and as :meth:`probs`.
        """
        if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):
            if not isinstance(a, (list, tuple)) or not isinstance(b, (list, tuple)) or len(a) != len(b):
                raise UserError('the two dates are not lists of the same length: give each image its partner')
            return [self.predict(t1, t2, channel_order=channel_order) for t1, t2 in zip(a, b, strict=True)]
        if isinstance(a, (str, Path)) and isinstance(b, (str, Path)):
            dates = self.read(a, b)
            return self.predict_pair(join(*dates, self.reading.stretch), self.resampling(*dates))
        t1, t2 = (self._array(image, date, channel_order) for date, image in enumerate((a, b)))
        return self._prediction(self.probs(t1[None], t2[None], channel_order=channel_order)[0], None)

    def _array(self, image: Any, date: int, channel_order: str | None) -> NDArray[np.uint8]:
        """An array as it is, or a file beside one, in the order of the array's channels."""
        if not isinstance(image, (str, Path)):
            return np.asarray(image)
        values = read_pixels(str(image), self.reading.of_date(date)).values
        return values[..., ::-1] if channel_order == 'bgr' and values.shape[2] == 3 else values

    def read(self, a: str | Path, b: str | Path) -> tuple[Pixels, Pixels]:
        """Read the files of a pair as the model needs them.

        Raises:
            UserError: if one cannot be read, or the sizes differ.
        """
        t1, t2 = (read_pixels(str(path), self.reading.of_date(date)) for date, path in enumerate((a, b)))
        if t1.values.shape != t2.values.shape:
            raise UserError(
                f'{a} is {size(t1.values)} and {b} is {size(t2.values)} pixels (columns x rows): '
                'cut both to the same area and size'
            )
        return t1, t2

    def predict_pair(self, pair: ImagePair, resampling: 'Resampling | None' = None) -> Prediction:
        """Predict a pair that is read; what has no data in either date is not changed.

        Args:
            pair: The pair.
            resampling: How to bring it to another size of a pixel, and the probabilities back.
        """
        images = pair.t1[None], pair.t2[None]
        if resampling is None:
            probs = self.probs(*images, channel_order='rgb')
        else:
            t1, t2 = map(resampling.there, images)
            probs = resampling.back(self.probs(t1, t2, channel_order='rgb'), *pair.t1.shape[:2])
        return self._prediction(probs[0], pair.valid)

    def resampling(self, t1: Pixels, t2: Pixels) -> 'Resampling | None':
        """How a pair is brought to the wanted size of a pixel on the ground; None where it stays as it is.

        Raises:
            UserError: where :attr:`resample` is set, if neither file is georeferenced, or the model names no size.
        """
        if self.resample is None:
            return None
        from hsonet_mm.inference.resolution import resampling

        return resampling(
            t1.path, _pixel_size(t1, t2), self.resample, self.name, self.ground_resolution, None
        )

    def resolution_notes(self, t1: Pixels, t2: Pixels) -> list[str]:
        """A sentence where the pixels of a pair are far from those that the model is for."""
        if self.resample is not None or self.ground_resolution is None:
            return []
        size = _pixel_size(t1, t2)
        if size is None:
            return []
        from hsonet_mm.inference.resolution import resolution_note

        note = resolution_note(t1.path, size, self.name, self.ground_resolution)
        return [] if note is None else [note]

    def _prediction(self, probs: NDArray[np.float32], valid: NDArray[np.bool_] | None) -> Prediction:
        if valid is None:
            valid = np.ones(probs.shape, bool)
        else:
            probs = np.where(valid, probs, np.float32(0))
        return Prediction(probs, probs > np.float32(self.threshold), self.threshold, valid)


def open_detector(
    files: Sequence[str | Path],
    *,
    device: str | None = None,
    threshold: float | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    window: WindowChoice = None,
    threads: int | None = None,
    precision: str | None = None,
    runtime: str | None = None,
    reading: Reading | None = None,
    resample: float | str | None = None,
) -> ChangeDetector:
    """Open what a command line names: config and checkpoint, an exported model, or one that comes with the package.

    Args:
        files: ``[config, checkpoint]``, ``[model.onnx]`` or ``[name]``.
        device: As in :meth:`ChangeDetector.from_checkpoint`; the following too.
        threshold: Probability above which a pixel is changed.
        cfg_options: Values that replace those of the config.
        window: Whole images or a sliding window.
        threads: Threads of an exported model.
        precision: Of a checkpoint in PyTorch.
        runtime: ``'pytorch'`` for a checkpoint, ``'onnxruntime'`` or ``'openvino'`` for an exported model, any of them
            for one that comes with the package.
        reading: How to read files.
        resample: Size of a pixel on the ground that georeferenced files are brought to and back.

    Raises:
        UserError: if the files are something else, or an exported model is given what only a checkpoint takes.
    """
    if len(files) == 1 and Path(files[0]).suffix in ('', '.onnx'):
        file = Path(files[0])
        shipped = not file.suffix
        refuse_options(file, {'--cfg-options': cfg_options})
        return ChangeDetector.from_onnx(
            model_path(str(file)) if shipped else file,
            threshold=threshold,
            threads=threads,
            runtime=runtime or (default_runtime() if shipped else 'onnxruntime'),
            device=device or 'cpu',
            window=window,
            precision=precision or 'auto',
            reading=reading,
            resample=resample,
        )
    if len(files) != 2:
        given = ' '.join(map(str, files)) or 'nothing'
        raise UserError(
            f'{given} is no model: give a config and a checkpoint, one .onnx file, or a name that `hsonet models` lists'
        )
    check_runtime(runtime, files[1])
    keep_memory()
    return ChangeDetector.from_checkpoint(
        *files,
        device=device or 'cpu',
        threshold=threshold,
        cfg_options=cfg_options,
        window=window,
        precision=precision or 'auto',
        reading=reading,
        resample=resample,
    )


def _require_torch(what: str, otherwise: str) -> None:
    if find_spec('torch') is None:
        raise UserError(
            f'{what} needs PyTorch and the OpenMMLab packages: install them with '
            f'`pip install "hsonet_mm[standalone]"`, or {otherwise}'
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
        if value not in (None, 'auto'):
            raise UserError(f'{path} runs as it was exported: leave out {option}')


def _pixel_size(t1: Pixels, t2: Pixels) -> 'PixelSize | None':
    """The pixels of a pair on the ground, by the first date that says where it lies."""
    for date in (t1, t2):
        if date.raster.place is not None:
            from hsonet_mm.images.ground import pixel_size

            place = date.raster.place
            return pixel_size(place.crs, place.transform, *date.values.shape[:2])
    return None


def _window(model: ChangeModel, choice: WindowChoice) -> Window:
    """The window of a choice; what the choice leaves open is the model's default."""
    default = default_window(model.tile_size, model.crop_size)
    if choice in (None, 'whole', 'slide'):
        return default
    if not isinstance(choice, tuple):
        raise UserError(f"{choice!r} is not a window: give 'whole', 'slide' or (crop, stride)")
    crop, stride = choice
    if default.fixed and crop not in (None, default.size):
        raise UserError(
            f'{model.name} takes {default.size} x {default.size} pixels only: leave out --crop {crop}, or export the '
            'model without --tile'
        )
    size = default.size if crop is None else crop
    return with_overlap(size, None if stride is None else size - stride, default.fixed)
