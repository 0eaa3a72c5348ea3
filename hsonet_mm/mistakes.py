"""From an error to the one sentence that a user reads: what is wrong, where, and the cure."""

import argparse
import errno
import gc
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from traceback import walk_tb

from hsonet_mm.errors import UserError
from hsonet_mm.memory import out_of_memory

__all__ = ['OPENCV', 'explain', 'guard', 'leave_process_group']

OPENCV = 'opencv-python-headless'
"""The package of OpenCV to install if it is missing; never beside another OpenCV, which has the same files."""
NO_MEMORY = (
    'there is not enough memory: process less at once (train: a smaller train_dataloader.batch_size or crop; test: '
    '--protocol tiles_256; predict: --mode slide or a smaller --crop; explain: a part of the images; scene: a smaller '
    '--tile or --batch), or use a machine with more memory'
)

WITHOUT_SHARED_MEMORY = (
    'the processes that load images are out of shared memory (/dev/shm, 64 MB by default in a container): give '
    'it more (docker run --shm-size=2g, or --ipc=host), or do without these processes (--cfg-options '
    'train_dataloader.num_workers=0 val_dataloader.num_workers=0 test_dataloader.num_workers=0)'
)
WORKER_DIED = (
    'a process that loads images was killed, probably because the machine ran out of memory: use fewer '
    '(--cfg-options train_dataloader.num_workers=1), or smaller batches'
)
WORKER_ENDED = (
    'a process that loads images ended, probably because it was out of memory or of shared memory (/dev/shm, 64 MB by '
    'default in a container): use fewer (--cfg-options train_dataloader.num_workers=1) or none (train_dataloader.'
    'num_workers=0 val_dataloader.num_workers=0 test_dataloader.num_workers=0), or give it more (docker run '
    '--shm-size=2g, or --ipc=host)'
)
"""Where the processes of a data loader ended; the last one where PyTorch does not know by which signal."""


def guard(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command; a user error becomes one sentence on stderr and exit code 2."""
    try:
        code = run(args)
        leave_process_group()
        return code
    except KeyboardInterrupt as interrupt:
        print('Interrupted' + (f': {interrupt}' if str(interrupt) else ''), file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads the output, such as `head`, has enough
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nor is anything written when Python ends
        return 0
    except Exception as error:
        sentence = explain(error, getattr(args, 'config', None))
        if sentence is None:
            raise
        print(f'error: {sentence}', file=sys.stderr)
        return 2


def leave_process_group() -> None:
    """Leave the process group; a process that ends without doing so can be aborted by threads that still wait.

    The threads end with the last reference to the group. The model holds one, and is itself held by the cycles of
    MMEngine's runner, which is why these are collected.
    """
    if sys.modules.get('torch') is None:  # nor is it needed to run an exported model
        return
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        gc.collect()
        distributed.destroy_process_group()


def explain(error: BaseException, config: Path | None = None) -> str | None:
    """The sentence for a user error, or None for a bug, which needs its stack trace."""
    if died := _worker_death(error):
        return WORKER_DIED if died == 'Killed' else WITHOUT_SHARED_MEMORY
    if isinstance(error, UserError):
        # From a worker of a data loader it arrives with the worker's stack trace in its text.
        return str(error).rsplit('UserError: ', 1)[-1].strip()
    if isinstance(error, ImportError) and (cure := re.search(r'pip install [\w\-]+', str(error))):
        return f'{config or "this"} asks for a package that is not installed: {cure[0]}'
    if 'Expected more than 1 value per channel when training' in str(error):
        return (
            f'the batch norms of {config or "this model"} cannot train on batches of one image: '
            'set train_dataloader.batch_size=2 or more (with --cfg-options)'
        )
    if out_of_memory(error):
        return NO_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f' with {error.filename}' if error.filename else ''
        return f'the disk{where} is full ({error.strerror}): make room and run the command again (train with --resume)'
    if sys.modules.get('torch') is None:
        return _of_a_file(error)
    from hsonet_mm.mmengine_errors import built_wrongly, explain_load_error

    name = f'the config {config}' if config else 'the config'
    unknown = re.search(r'([\w.\-]+) is not in the ([\w.\-]+::)?[\w \-]+ registry', str(error))
    if isinstance(error, KeyError) and unknown:
        return (
            f"{name} names the type '{unknown[1]}', which is not registered: "
            'correct the name or add its package to custom_imports'
        )
    if weights := explain_load_error(error):
        return str(weights)
    if built_wrongly(error):
        return f'{name} cannot be built ({_reason(error)}): correct it'
    if error.__cause__ is not None and (sentence := explain(error.__cause__, config)):
        return sentence
    return WORKER_ENDED if 'exited unexpectedly' in str(error) else _of_a_file(error)


def _worker_death(error: BaseException | None) -> str | None:
    """The signal that ended a process of a data loader, or None.

    PyTorch raises this error in a signal handler, thus wherever the main thread is: what runs there may raise another
    in its place, as the formatter of MMEngine's configs does.
    """
    while error is not None:
        if died := re.search(r'DataLoader worker .* killed by signal: (\w+)', str(error)):
            return died[1]
        error = error.__cause__ or error.__context__
    return None


def _of_a_file(error: BaseException) -> str | None:
    """The sentence for a file or folder that cannot be used: the name is too long, permission is denied ..."""
    if isinstance(error, RuntimeError) and (loop := re.match("Symlink loop from '(.*)'", str(error))):
        return f'{loop[1]} is a loop of symbolic links: name another place'  # as pathlib says it before Python 3.13
    if not isinstance(error, OSError) or not isinstance(error.filename, (str, bytes, os.PathLike)):
        return None
    name = os.fsdecode(error.filename)
    return f'{name} cannot be used ({error.strerror}): correct its name or permissions, or name another place'


def _reason(error: BaseException) -> str:
    """What an error says in its first line, or where it arose if it says nothing."""
    if text := str(error.args[0] if error.args else '').strip():
        return text.splitlines()[0][:200]
    *_, (frame, _line) = walk_tb(error.__traceback__)
    owner = frame.f_locals.get('self')
    return type(error).__name__ + (f' in {type(owner).__name__}' if owner is not None else '')
