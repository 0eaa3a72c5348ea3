"""An exported model in ONNX Runtime, without PyTorch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.inference.metadata import INPUT, Metadata
from hsonet_mm.version import __version__

__all__ = ['OnnxModel']


class OnnxModel:
    """A model that ``hsonet export`` wrote, on the CPU.

    Args:
        path: The ``.onnx`` file.
        threads: Threads of one prediction; by default one for each core.
        content: Content of the file where it is known already.

    Attributes:
        name: Name of the file.
        metadata: What the model says about itself.
        threshold: Its own threshold.
        threshold_source: Where that comes from, in words.
        versions: Versions of what computes, and of what it was exported with.

    Raises:
        UserError: without ONNX Runtime, for a file that is missing, damaged or not ours, and for no threads.
    """

    def __init__(self, path: str | Path, threads: int | None = None, content: bytes | None = None) -> None:
        if threads is not None and threads < 1:
            raise UserError(f'{threads} threads compute nothing: give 1 or more')
        if content is None and not Path(path).is_file():
            raise UserError(f'the model {path} does not exist: give an .onnx file that `hsonet export` wrote')
        try:
            import onnxruntime
        except ImportError:
            raise UserError(f'running {path} needs ONNX Runtime: pip install onnxruntime') from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; they arrive as exceptions anyway
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(
                content or str(path), options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # a class for every kind of damage, without a common base
            reason = str(error).splitlines()[0].removeprefix('[ONNXRuntimeError] : ')
            raise UserError(
                f'{path} is no ONNX model, or truncated or damaged ({reason}): export or copy it again'
            ) from None
        self.metadata = Metadata.from_props(self._session.get_modelmeta().custom_metadata_map, str(path))
        self.name = Path(path).name
        self.threshold = self.metadata.threshold
        self.threshold_source = self.metadata.threshold_source
        exported_with = {f'{name} of the export': text for name, text in self.metadata.versions.items()}
        self.versions = {'hsonet_mm': __version__, 'onnxruntime': onnxruntime.__version__, **exported_with}

    def probs(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of change of a batch, see :meth:`hsonet_mm.ChangeDetector.probs`."""
        n, height, width, _ = t1.shape
        size = self.metadata.tile_size
        if size is not None and (height, width) != (size, size):
            raise UserError(
                f'{self.name} takes {size} x {size} pixels and got {width} x {height}: '
                'cut tiles of that size, or export it without --tile'
            )
        pair = np.empty((n, 6, height, width), np.float32)
        for half, images in ((pair[:, :3], t1), (pair[:, 3:], t2)):
            half[...] = images[..., ::-1].transpose(0, 3, 1, 2)
        (probs,) = self._session.run(None, {INPUT: pair})
        return probs[:, 0]
