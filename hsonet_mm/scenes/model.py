"""A model in a form that other processes can load."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.inference.opening import open_detector
from hsonet_mm.pretrained import model_path

__all__ = ['ModelSpec']


@dataclass(frozen=True)
class ModelSpec:
    """A model and its device: config and checkpoint, one ``.onnx`` file, or the name of a packaged model."""

    files: tuple[str, ...]
    device: str = 'cpu'
    threshold: float | None = None
    cfg_options: Mapping[str, Any] | None = None
    threads: int | None = None
    precision: str | None = None
    runtime: str | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Local files of the model."""
        if len(self.files) == 1 and not Path(self.files[0]).suffix:
            return (model_path(self.files[0]),)
        return tuple(map(Path, self.files))

    def load(self) -> ChangeDetector:
        """Open the model."""
        return open_detector(
            self.files,
            device=self.device,
            threshold=self.threshold,
            cfg_options=self.cfg_options,
            window='whole',  # tiles are the windows
            threads=self.threads,
            precision=self.precision,
            runtime=self.runtime,
        )
