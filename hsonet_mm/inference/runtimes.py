"""The runtimes of exported models: ONNX Runtime, on CPUs and GPUs, and OpenVINO."""

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.cores import default_threads
from hsonet_mm.errors import UserError
from hsonet_mm.exported.metadata import INPUT
from hsonet_mm.exported.onnx_file import read_props

__all__ = ['RUNTIMES', 'Program', 'load', 'providers_of']

PROVIDERS = {
    'cpu': (),
    'cuda': ('CUDAExecutionProvider',),
    'tensorrt': ('TensorrtExecutionProvider', 'CUDAExecutionProvider'),
}
"""Of ONNX Runtime for each device, before the CPU, which runs what the others cannot."""


HINTS = {'fp32': 'f32', 'bf16': 'bf16'}
"""OpenVINO's names of precisions."""


class Program(NamedTuple):
    """A model that is ready to run from (N, 6, H, W) float32 to (N, 1, H, W), and its ``metadata_props``."""

    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    props: Mapping[str, str]
    versions: dict[str, str]


def load(
    path: str | Path,
    content: bytes | None,
    runtime: str,
    device: str,
    threads: int | None,
    precision: str = 'auto',
) -> Program:
    """Load a model in one of :data:`RUNTIMES`, from its file or its content."""
    if threads is not None and threads < 1:
        raise UserError(f'invalid number of threads {threads}: expected 1 or more')
    if content is None and not Path(path).is_file():
        reason = 'is a folder' if Path(path).is_dir() else 'does not exist'
        raise UserError(f'the model {path} {reason}: give an .onnx file that `hsonet export` wrote')
    if runtime not in RUNTIMES:
        raise UserError(
            f'{path} is an exported model, which {runtime} cannot run: give --runtime {" or ".join(RUNTIMES)}'
        )
    return RUNTIMES[runtime](path, content, device, threads or default_threads(), precision)


def _onnxruntime(
    path: str | Path, content: bytes | None, device: str, threads: int | None, precision: str
) -> Program:
    if precision != 'auto':
        raise UserError(
            f'--precision does not apply to the exported model {path} in ONNX Runtime: leave it out, or use '
            '--runtime openvino'
        )
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f'running {path} needs ONNX Runtime: pip install onnxruntime') from None
    providers = providers_of(device, onnxruntime.get_available_providers(), path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # of errors nothing but the exception
    options.intra_op_num_threads = threads or 0
    # Threads that wait for work let others compute: reading and writing of scenes, and other processes.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    try:
        session = onnxruntime.InferenceSession(content or str(path), options, providers=providers)
    except Exception as error:  # a class for every kind of damage, without a common base
        raise _damaged(path, str(error).splitlines()[0].removeprefix('[ONNXRuntimeError] : ')) from None
    if len(providers) > 1 and session.get_providers()[0] != providers[0][0]:
        raise UserError(
            f'ONNX Runtime finds no GPU, or no matching libraries, for --device {device}: check its CUDA '
            'version, or use --device cpu'
        )

    def run(pair: NDArray[np.float32]) -> NDArray[np.float32]:
        (probs,) = session.run(None, {INPUT: pair})
        return probs

    return Program(run, session.get_modelmeta().custom_metadata_map, {'onnxruntime': onnxruntime.__version__})


def providers_of(device: str, available: list[str], path: str | Path) -> list[Any]:
    """Providers of ONNX Runtime for a device, with their options."""
    found = re.fullmatch(r'(cpu|cuda|tensorrt)(?::(\d+))?', device)
    if not found or (found[1] == 'cpu' and found[2]):
        raise UserError(
            f"invalid --device '{device}' for {path}: expected cpu, cuda, cuda:1 (and so on) or tensorrt"
        )
    names = PROVIDERS[found[1]]
    if missing := [name for name in names if name not in available]:
        raise UserError(
            f'--device {device} needs the {missing[0]} of ONNX Runtime, which is not installed: replace '
            'onnxruntime by onnxruntime-gpu, or use --device cpu'
        )
    return [*((name, {'device_id': int(found[2] or 0)}) for name in names), 'CPUExecutionProvider']


def _openvino(
    path: str | Path, content: bytes | None, device: str, threads: int | None, precision: str
) -> Program:
    try:
        import openvino
    except ImportError:
        raise UserError(
            f'running {path} with OpenVINO needs its package: pip install "hsonet_mm[openvino]"'
        ) from None
    if device != 'cpu':
        raise UserError(
            f'--device {device} requires ONNX Runtime: leave out --runtime openvino, or use --device cpu'
        )
    content = Path(path).read_bytes() if content is None else content
    options: dict[str, Any] = {'PERFORMANCE_HINT': 'LATENCY'}
    if threads is not None:
        options['INFERENCE_NUM_THREADS'] = threads
    if precision not in ('auto', *HINTS):
        raise UserError(f"invalid precision '{precision}': expected one of auto, {', '.join(HINTS)}")
    if precision != 'auto':  # left to OpenVINO: bfloat16 on processors that support it
        options['INFERENCE_PRECISION_HINT'] = HINTS[precision]
    core = openvino.Core()
    try:
        compiled = core.compile_model(core.read_model(content), 'CPU', options)
    except RuntimeError as error:
        raise _damaged(path, str(error).strip().splitlines()[-1]) from None
    own = threading.local()  # a request holds the input and output of one call: each thread has its own

    def run(pair: NDArray[np.float32]) -> NDArray[np.float32]:
        if not hasattr(own, 'request'):
            own.request = compiled.create_infer_request()
        return np.array(own.request.infer([pair])[0])  # a copy: the next call writes to the same place

    hint = compiled.get_property('INFERENCE_PRECISION_HINT').to_string()
    versions = {
        'openvino': openvino.__version__.split('-')[0],
        'precision': next((name for name, value in HINTS.items() if value == hint), hint),
    }
    return Program(run, read_props(content), versions)


def _damaged(path: str | Path, reason: str) -> UserError:
    return UserError(f'{path} is not an ONNX model, or damaged ({reason}): export or copy it again')


RUNTIMES: dict[str, Callable[[str | Path, bytes | None, str, int | None, str], Program]] = {
    'onnxruntime': _onnxruntime,
    'openvino': _openvino,
}
"""Loaders by name."""
