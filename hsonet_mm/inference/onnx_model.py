"""An exported model in ONNX Runtime or OpenVINO, without PyTorch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.exported.metadata import Metadata
from hsonet_mm.images import Reading
from hsonet_mm.inference.runtimes import load
from hsonet_mm.version import __version__

__all__ = ['OnnxModel']


class OnnxModel:
    """A model that ``hsonet export`` wrote.

    Its attributes are those of :class:`~hsonet_mm.inference.models.ChangeModel`, and ``metadata``, what the file says
    about itself.

    Args:
        path: The ``.onnx`` file.
        threads: Threads of one prediction on a CPU; by default ``OMP_NUM_THREADS``, else one for each core that this
            process may use.
        content: Content of the file where it is known already.
        runtime: What runs it, ``'onnxruntime'`` or ``'openvino'``.
        device: ``'cpu'``; in ONNX Runtime also ``'cuda'``, ``'tensorrt'`` and, by number, ``'cuda:1'`` ...
        precision: In OpenVINO ``'fp32'``, ``'bf16'``, or ``'auto'`` for bfloat16 on processors that support it.

    Raises:
        UserError: without the runtime or the device, for a file that is missing, damaged or not ours, and for no
            threads.
    """

    slides = False

    def __init__(
        self,
        path: str | Path,
        threads: int | None = None,
        content: bytes | None = None,
        runtime: str = 'onnxruntime',
        device: str = 'cpu',
        precision: str = 'auto',
    ) -> None:
        program = load(path, content, runtime, device, threads, precision)
        self._run = program.run
        self.metadata = Metadata.from_props(program.props, str(path))
        self.reading = Reading.from_dict(self.metadata.reading)
        self.device = device
        self.tile_size, self.crop_size = self.metadata.tile_size, self.metadata.crop_size
        self.ground_resolution = self.metadata.ground_resolution
        self.name = Path(path).name
        self.threshold = self.metadata.threshold
        self.threshold_source = self.metadata.threshold_source
        exported_with = {f'{name} of the export': text for name, text in self.metadata.versions.items()}
        self.versions = {'hsonet_mm': __version__, **program.versions, **exported_with}

    def probs(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of change of a batch, see :meth:`hsonet_mm.ChangeDetector.probs`."""
        n, height, width, bands = t1.shape
        size = self.tile_size
        if size is not None and (height, width) != (size, size):
            raise UserError(
                f'{self.name} takes {size} x {size} pixels, not {width} x {height}: use a sliding window '
                '(leave out --mode whole), or export the model without --tile'
            )
        pair = np.empty((n, 2 * bands, height, width), np.float32)
        for half, images in ((pair[:, :bands], t1), (pair[:, bands:], t2)):
            half[...] = (images[..., ::-1] if bands == 3 else images).transpose(0, 3, 1, 2)
        return self._run(pair)[:, 0]

    def whole(self) -> 'OnnxModel':
        """This model, which slides no window itself."""
        return self
