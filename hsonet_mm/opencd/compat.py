"""Compatibility with both stacks of OpenMMLab packages, the original one and the OneDL forks.

*Original* is mmengine 0.10, mmcv or mmcv-lite 2.1, mmsegmentation 1.2 (what Open-CD needs);
*OneDL* is the maintained fork of the same three packages under the same import names.
Importing :mod:`hsonet_mm.components` calls :func:`prepare_host`; :mod:`hsonet_mm.host_imports` contains what has to be
in place before that.
"""

import codecs
import importlib
import importlib.util
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

__all__ = [
    'OPENCD_AVAILABLE',
    'import_opencd',
    'let_inferencers_find_our_transforms',
    'load_checkpoints_safely',
    'prepare_host',
]

_INSTALL_HELP = (
    'hsonet_mm needs the OpenMMLab packages mmengine, mmcv and mmsegmentation: either install the maintained '
    'forks with `pip install "hsonet_mm[standalone]"`, or use an environment that runs Open-CD '
    '(mmengine 0.10, mmcv or mmcv-lite 2.1, mmsegmentation 1.2)'
)

OPENCD_AVAILABLE: bool
"""Whether the real Open-CD can be imported; if not, :mod:`hsonet_mm.opencd.stand_in` takes its place."""


def prepare_host() -> None:
    """Repair the known defects of the installed OpenMMLab packages.

    Raises:
        ImportError: without MMEngine, MMCV or MMSegmentation, in one sentence that names both ways to get them.
    """
    for name in ('mmengine', 'mmcv', 'mmseg'):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ImportError(f'{_INSTALL_HELP} ({error})') from None
        except AssertionError as error:  # the packages assert each other's versions at import
            raise ImportError(f'{_INSTALL_HELP}; the installed versions are incompatible ({error})') from None
    _warn_about_versions()
    load_checkpoints_safely()
    _end_workers_without_shared_memory()


def _warn_about_versions() -> None:
    """Warn of packages outside the tested versions, without refusing to run."""
    from mmengine.utils import digit_version

    tried = {'mmengine': ('0.10.7', '0.11'), 'mmcv': ('2.1.0', '2.4'), 'mmseg': ('1.2.2', '1.5')}
    for name, (lowest, above) in tried.items():
        version = sys.modules[name].__version__
        if not digit_version(lowest) <= digit_version(version) < digit_version(above):
            warnings.warn(
                f'hsonet_mm was tested with {name} >= {lowest}, < {above}, and {version} is installed: it may '
                'still work',
                stacklevel=3,
            )


def _method_of_log(owner: object, name: str) -> Any:
    """Stand in for ``getattr`` in a checkpoint, where it names the statistics of a log buffer and nothing else.

    The real one would lead from any function to ``__builtins__``, and ``HistoryBuffer.__setstate__`` would call what
    it finds there.
    """
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or not isinstance(name, str) or name.startswith('_'):
        raise pickle.UnpicklingError(f'a checkpoint may not reach for attribute {name!r}')
    return getattr(owner, name)


def _known_as(module: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function under the name by which checkpoints call it; PyTorch 2.4 compares declared functions by that alone."""

    def known(*args: Any) -> Any:
        return function(*args)

    known.__module__, known.__name__, known.__qualname__ = module, name, name
    return known


def load_checkpoints_safely() -> None:
    """Make MMEngine's checkpoints load under ``weights_only``, and reject all others.

    A checkpoint of MMEngine carries its message hub: log buffers with NumPy arrays. Those types are declared safe
    here, by their names in NumPy 1 and in NumPy 2, since checkpoints move between the two. MMEngine falls back to (or,
    for downloads, starts with) unpickling arbitrary objects, so PyTorch's own switch against that is turned on, unless
    the user set ``TORCH_FORCE_WEIGHTS_ONLY_LOAD`` before: with 0 the OneDL forks load local files unsafely again, the
    original packages downloads only. The opposite switch, ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``, would make every load
    fail beside it, and is taken away with a warning.
    """
    from mmengine.logging import HistoryBuffer
    from mmengine.runner import checkpoint

    multiarray = getattr(np, '_core', None) or np.core  # NumPy 2 renamed it
    dtypes = {type(np.dtype(kind)) for kind in np.typecodes['AllInteger'] + np.typecodes['Float'] + '?'}
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            codecs.encode,  # bytes of NumPy's scalars; PyTorch 2.4 does not know it by itself
            slice,
            _known_as('builtins', 'getattr', _method_of_log),
            *(
                _known_as(f'numpy.{core}.multiarray', name, getattr(multiarray.multiarray, name))
                for core in ('core', '_core')
                for name in ('_reconstruct', 'scalar')
            ),
            np.ndarray,
            np.dtype,
            *dtypes,
        ]
    )
    if hasattr(checkpoint, 'get_torch_safe_globals'):
        # OneDL declares a part of them for one load, after which PyTorch forgets also what was declared before.
        checkpoint.get_torch_safe_globals = list
    if os.environ.setdefault('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1') != '0' and os.environ.pop(
        'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', ''
    ):
        warnings.warn(
            'hsonet_mm loads checkpoints as weights only and ignores TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD: set '
            'TORCH_FORCE_WEIGHTS_ONLY_LOAD=0 as well if you trust your checkpoints',
            stacklevel=4,
        )


def _end_workers_without_shared_memory() -> None:
    """End a worker of a data loader if its batch does not fit into shared memory, instead of losing the batch.

    Python prints what happened in the thread that sends batches and goes on, so that the training would wait for good.
    The worker ends by the signal that it gets where memory runs out a moment later, which PyTorch reports.
    """
    from multiprocessing.queues import Queue

    from torch.utils.data import get_worker_info

    original = Queue._on_queue_feeder_error  # type: ignore[attr-defined]

    def end(error: Exception, item: object) -> None:
        if get_worker_info() is not None and 'shared memory' in str(error):
            signal.raise_signal(signal.SIGBUS)
        original(error, item)

    if sys.platform != 'win32':
        Queue._on_queue_feeder_error = staticmethod(end)  # type: ignore[attr-defined]


def import_opencd() -> bool:
    """Import the real Open-CD if it is installed; warn if it is broken."""
    spec = importlib.util.find_spec('opencd')
    if spec is None or spec.origin is None:  # not there, or a folder of that name with something else in it
        return False
    try:
        for name in ('registry', 'models', 'datasets', 'visualization', 'engine'):
            importlib.import_module(f'opencd.{name}')
        let_inferencers_find_our_transforms()
    except Exception as error:  # a binary that does not load, a registry that lacks a name, ...
        warnings.warn(
            f'Open-CD is installed but cannot be imported ({error}); hsonet_mm uses its own stand-in for it',
            stacklevel=4,
        )
        return False
    return True


def let_inferencers_find_our_transforms() -> None:
    """Let ``OpenCDInferencer`` find the loaders of a pipeline whatever their scope, ``hsonet_mm.`` included.

    It looks for ``MultiImgLoadImageFromFile`` by that very name, to put a loader in its place which takes arrays too.
    """
    inferencer = importlib.import_module('mmseg.apis').MMSegInferencer

    def index_of(_: object, pipeline: list[dict[str, Any]], name: str) -> int:
        found = (i for i, step in enumerate(pipeline) if step['type'].rpartition('.')[2] == name)
        return next(found, -1)

    inferencer._get_transform_idx = index_of


def __getattr__(name: str) -> bool:
    """Look for Open-CD on first use only, once the host is prepared."""
    if name == 'OPENCD_AVAILABLE':
        globals()[name] = import_opencd()
        return globals()[name]
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
