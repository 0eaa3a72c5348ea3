"""A model in a form that other processes can load."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from hsonet_mm.inference.tta import Detector
from hsonet_mm.pretrained import model_path

__all__ = ['ModelSpec', 'load_detector']


@dataclass(frozen=True)
class ModelSpec:
    """A model and where it computes.

    Files are config and checkpoint, one ``.onnx`` file, or the name of a packaged model; the factory,
    ``module:function``, makes the detector.
    """

    files: tuple[str, ...]
    device: str = 'cpu'
    threshold: float | None = None
    cfg_options: Mapping[str, Any] | None = None
    threads: int | None = None
    precision: str | None = None
    runtime: str | None = None
    factory: str = 'hsonet_mm.scenes.model:load_detector'

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its files on this machine."""
        if len(self.files) == 1 and not Path(self.files[0]).suffix:
            return (model_path(self.files[0]),)
        return tuple(map(Path, self.files))

    def load(self) -> Detector:
        """Make the detector."""
        module, _, function = self.factory.partition(':')
        return cast('Detector', getattr(import_module(module), function)(self))


def load_detector(spec: ModelSpec) -> Detector:
    """Make a :class:`hsonet_mm.inference.detector.ChangeDetector`."""
    from hsonet_mm.inference.opening import open_detector

    detector = open_detector(
        spec.files,
        device=spec.device,
        threshold=spec.threshold,
        cfg_options=spec.cfg_options,
        window='whole',  # tiles are the windows
        threads=spec.threads,
        precision=spec.precision,
        runtime=spec.runtime,
    )
    return cast('Detector', detector)
