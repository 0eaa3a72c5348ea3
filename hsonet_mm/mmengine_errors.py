"""Recognition of user errors among the errors of MMEngine, by where they were raised."""

import pickle
from http.client import HTTPException
from traceback import walk_tb
from urllib.error import HTTPError

from mmengine.model.weight_init import PretrainedInit
from mmengine.runner.checkpoint import CheckpointLoader

from hsonet_mm.errors import UserError

__all__ = ['built_wrongly', 'explain_load_error']


def built_wrongly(error: BaseException) -> bool:
    """Whether an error was raised while MMEngine built an object of a config, so that the config is wrong.

    It builds model and hooks at once, data sets, optimiser and schedules when they are needed, and names neither the
    config nor the component.
    """
    if not isinstance(error, (TypeError, ValueError, AssertionError, KeyError)):
        return False
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(
        frame.f_globals.get('__name__', '').startswith('mmengine.')
        and frame.f_code.co_name.startswith(('build_', 'from_cfg'))
        for frame in frames
    )


def explain_load_error(error: BaseException) -> UserError | None:
    """Tell in one sentence why MMEngine could not load a checkpoint.

    MMEngine loads ``http(s)://``, ``open-mmlab://``, ``torchvision://`` and local files in one function and lets the
    network's, the file system's and PyTorch's errors through. That function is looked for in the trace of the error,
    for it knows the name that the user wrote; nothing has to be patched, and other errors stay as they are. None if no
    checkpoint was being loaded.
    """
    filename, pretrained = '', False
    for frame, _ in walk_tb(error.__traceback__):
        if frame.f_code is PretrainedInit.__call__.__code__:
            pretrained = True
        elif frame.f_code is CheckpointLoader.load_checkpoint.__func__.__code__:
            filename = frame.f_locals['filename']
    if not filename:
        return None
    problem = _problem(error, is_local='://' not in filename)
    if problem is None:
        return None
    if pretrained:
        return UserError(
            f'The pre-trained weights {filename} {problem}: get the file elsewhere and pass '
            '--cfg-options model.backbone.init_cfg.checkpoint=FILE, '
            'or train from scratch with model.backbone.init_cfg=None'
        )
    return UserError(f'The checkpoint {filename} {problem}: pass the path of another file')


def _problem(error: BaseException, is_local: bool) -> str | None:
    """The predicate of the sentence, or None for an error that is not the user's."""
    match error:
        case UserError():
            return None
        case FileNotFoundError() if is_local:
            return 'cannot be found'
        case OSError() if is_local:
            return f'cannot be read ({error})'
        case HTTPError():
            return f'cannot be downloaded ({error})'
        case OSError() | HTTPException():
            return f'cannot be downloaded (no network? {getattr(error, "reason", error)})'
        case ImportError():
            return f'cannot be loaded without a missing package ({error})'
        case KeyError():
            return "cannot be found in MMEngine's list of weights"
        case pickle.UnpicklingError() | EOFError() | RuntimeError():
            return 'cannot be loaded (damaged, or more than tensors in it)'
    return None
