"""Errors for want of memory, of all libraries, and no others."""

import errno
import queue

import pytest
import torch

from hsonet_mm import mistakes
from hsonet_mm.errors import UserError
from hsonet_mm.memory import out_of_memory

pytestmark = pytest.mark.any_host


@pytest.mark.parametrize(
    'error',
    [
        MemoryError(),
        torch.OutOfMemoryError('CUDA out of memory.'),
        OSError(errno.ENOMEM, 'Cannot allocate memory'),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError('[enforce fail at alloc_cpu.cpp:83] data. DefaultCPUAllocator: not enough memory: you tried to'),
        RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`'),
        RuntimeError('[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc'),
    ],
)  # fmt: skip
def test_want_of_memory(error):
    assert out_of_memory(error)
    sentence = mistakes.explain(error)
    assert sentence == mistakes.NO_MEMORY
    for cure in ('batch_size', '--mode slide', '--tile'):
        assert cure in sentence


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError('mat1 and mat2 shapes cannot be multiplied'),
        OSError(errno.ENOSPC, 'No space left on device'),
        RuntimeError('DataLoader worker (pid 4242) is killed by signal: Segmentation fault. '),
        KeyError('memory'),
    ],
)
def test_other_errors(error):
    assert not out_of_memory(error)


def test_of_what_it_was_raised_from():
    """Libraries wrap errors in their own."""
    error = RuntimeError('the step failed')
    error.__cause__ = MemoryError()
    assert mistakes.explain(error) == mistakes.NO_MEMORY


def test_process_that_loads_images():
    """PyTorch names the signal, unless the main thread swallowed the error that told of it: then the end alone."""
    ended = RuntimeError('DataLoader worker (pid(s) 4242) exited unexpectedly')
    assert mistakes.explain(ended) == mistakes.WORKER_ENDED
    ended.__cause__ = queue.Empty()
    assert mistakes.explain(ended) == mistakes.WORKER_ENDED
    ended.__cause__ = RuntimeError(
        'DataLoader worker (pid 4242) is killed by signal: Bus error. It is possible'
    )
    assert mistakes.explain(ended) == mistakes.WITHOUT_SHARED_MEMORY
    for other in (SyntaxError('Failed to format the config file'), UserError('this config cannot be read')):
        other.__context__ = ended.__cause__  # raised by the code in which the signal arrived
        assert mistakes.explain(other) == mistakes.WITHOUT_SHARED_MEMORY
    for sentence in (mistakes.WORKER_ENDED, mistakes.WITHOUT_SHARED_MEMORY):
        assert '--shm-size' in sentence
        assert 'num_workers=0' in sentence


def test_loop_of_links(tmp_path):
    link = tmp_path / 'loop'
    link.symlink_to(link)
    for error in (RuntimeError(f"Symlink loop from '{link}'"), _raised_by(link.resolve)):
        if error is not None:
            assert mistakes.explain(error) == f'{link} is a loop of symbolic links: name another place'


def _raised_by(call):
    try:
        call()
    except RuntimeError as error:
        return error
    return None  # Python 3.13 resolves as far as it can
