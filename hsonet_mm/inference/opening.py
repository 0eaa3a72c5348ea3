"""Opening the model of a command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsonet_mm.errors import UserError
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.inference.models import check_runtime, refuse_options
from hsonet_mm.memory import keep_memory, map_blocks
from hsonet_mm.pretrained import default_runtime, model_path

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hsonet_mm.inference.detector import DetectorOptions

__all__ = ['open_detector']


def open_detector(
    files: Sequence[str | Path],
    *,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    threads: int | None = None,
    precision: str | None = None,
    runtime: str | None = None,
    **options: 'Unpack[DetectorOptions]',
) -> ChangeDetector:
    """Open config and checkpoint, an exported model, or a model that comes with the package.

    Files are ``[config, checkpoint]``, ``[model.onnx]`` or ``[name]``; the options are those of :class:`ChangeDetector`
    and its constructors.
    """
    device, precision = device or 'cpu', precision or 'auto'
    if len(files) == 1 and (file := Path(files[0])).suffix.lower() in ('', '.onnx'):
        shipped = not file.suffix
        refuse_options(file, {'--cfg-options': cfg_options})
        path = model_path(str(file)) if shipped else file
        runtime = runtime or (default_runtime(device, precision) if shipped else 'onnxruntime')
        map_blocks()
        return ChangeDetector.from_onnx(
            path, threads=threads, runtime=runtime, device=device, precision=precision, **options
        )
    if len(files) != 2:
        given = ' '.join(map(str, files)) or 'no file'
        raise UserError(
            f'invalid model {given}: expected a config and a checkpoint, one .onnx file, or a name that '
            '`hsonet models` lists'
        )
    check_runtime(runtime, files[1])
    keep_memory()
    return ChangeDetector.from_checkpoint(
        *files, device=device, cfg_options=cfg_options, precision=precision, **options
    )
