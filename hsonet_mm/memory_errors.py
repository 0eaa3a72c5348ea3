"""Whether an error is for want of memory, whichever library it comes from."""

import errno
import re

__all__ = ['out_of_memory']

_SIGNS = re.compile(
    r"can't allocate memory|not enough memory|out of memory|cannot allocate memory|insufficient memory"
    r'|failed to allocate|bad_?alloc|_ALLOC_FAILED|could not create a memory',
    re.IGNORECASE,
)
"""What PyTorch, CUDA's libraries, ONNX Runtime, OpenVINO, oneDNN, OpenCV, GDAL and the C++ library say."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory, of the machine or of a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ in (
        'OutOfMemoryError',
        'CPLE_OutOfMemoryError',
    ):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return _SIGNS.search(str(error)) is not None
